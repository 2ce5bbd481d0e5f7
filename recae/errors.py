"""Every error recae raises on purpose.

    RecaeError
    ├── ConfigError            a setting, a protocol file or an option that cannot be used
    ├── DataError              a log, a table or a matrix that cannot be used
    │   ├── UnknownIdError     ids outside the vocabulary; also a KeyError
    │   ├── EmptyFolderError   a folder without any files
    │   ├── UnlikeFilesError   files of one log that have not the same columns
    │   └── TooManyBadRowsError  more rows were quarantined than the caller allows
    ├── ModelError             a model that cannot do what was asked
    │   ├── NotFittedError     scores were asked of a model that has learned nothing yet
    │   ├── WarmStartError     an earlier model that a training cannot start from
    │   └── FitError           training could not produce finite weights
    ├── MemoryBudgetError      the work would not fit into memory; also a MemoryError
    ├── EvaluationError        a protocol that cannot give an honest number
    │   └── LeakageError       a split in which the model has seen an answer
    ├── EventLogError          an event log that cannot be opened, read or written
    │   ├── BusyLogError       one whose archive is held by somebody else for now: nothing was done
    │   └── LastingLogError    one that waiting does not mend: missing, damaged, full, or of another database
    ├── RetrainError           a nightly run that cannot start, or cannot go on
    ├── ArtifactError          a stored model that is missing, damaged or of another version
    ├── BatchError             a batch of recommendations that cannot be written or resumed
    └── ClientError            what a server answered, or that it did not: the tree in recae.client.errors

A message says what was found, what was expected, and what to do. Wrong *arguments* to a Python call stay
the built-in errors every Python programmer expects: ValueError, TypeError, IndexError.
"""

from collections.abc import Iterable, Sequence


class RecaeError(Exception):
    """Base of all errors above: catch it to catch them all."""


class ConfigError(RecaeError, ValueError):
    """A setting, a protocol file or an option that cannot be used."""


class DataError(RecaeError, ValueError):
    """A log, a table or a matrix that cannot be used."""


class UnknownIdError(DataError, KeyError):
    """Ids that the vocabulary does not hold.

    Args:
        kind: what the ids name, singular: ``"item"`` or ``"user"``.
        unknown: the ids, in the order they came.
        known: size of the vocabulary.
    """

    def __init__(self, kind: str, unknown: Sequence[str], known: int) -> None:
        self.kind = kind
        self.unknown = list(unknown)
        super().__init__(
            f"{len(self.unknown)} {kind} id(s) outside the {known:,} known: {name_some(self.unknown)}; "
            "drop them, or retrain on a log that contains them"
        )

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would show the repr


class EmptyFolderError(DataError):
    """A folder without any files: of a log that has not begun, or a wrong name."""


class UnlikeFilesError(DataError):
    """Files of one log that have not the same columns."""


class TooManyBadRowsError(DataError):
    """More rows were quarantined than the caller allows."""


class ModelError(RecaeError):
    """A model that cannot do what was asked."""


class NotFittedError(ModelError):
    """Scores were asked of a model that has learned nothing yet."""


class WarmStartError(ModelError):
    """An earlier model that a training cannot start from."""


class FitError(ModelError):
    """Training could not produce finite weights."""


class MemoryBudgetError(RecaeError, MemoryError):
    """The work would not fit into memory; the message names the need, the budget and an alternative."""


class EvaluationError(RecaeError):
    """A protocol that cannot give an honest number."""


class LeakageError(EvaluationError):
    """A split in which the model has seen an answer, or knows the future."""


class EventLogError(RecaeError):
    """An event log that cannot be opened, read or written."""


class BusyLogError(EventLogError):
    """What was not begun, since maintenance or another deletion holds the archive; it may be asked for again."""


class LastingLogError(EventLogError):
    """What waiting does not mend: a log that is missing, damaged or not writable, a full disk, the archive of another log."""


class RetrainError(RecaeError):
    """A nightly run that cannot start, or cannot go on."""


class ArtifactError(RecaeError):
    """A stored model that is missing, damaged or of another version."""


class CheckpointError(ArtifactError):
    """The state of a training that is damaged, or that this training cannot go on from."""


class BatchError(RecaeError):
    """A batch of recommendations that cannot be written or resumed."""


def name_some(values: Iterable[object], at_most: int = 5) -> str:
    """``'a', 'b', 'c' and 4 more``: enough to act on, short enough for one line."""
    named = [repr(value) for value in values]
    rest = f" and {len(named) - at_most:,} more" if len(named) > at_most else ""
    return ", ".join(named[:at_most]) + rest
