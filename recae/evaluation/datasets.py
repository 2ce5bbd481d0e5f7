"""From the ``[data]`` and ``[split]`` tables of a protocol to matrices."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array, csr_array

from recae.data import filters, splits
from recae.data.benchmark_titles import benchmark_catalogue
from recae.data.benchmarks import load_benchmark
from recae.data.catalogue import Catalogue
from recae.data.holdout import Feedback, Holdout, Split, holdout_for, values_for
from recae.data.interactions import Interactions, Repeats
from recae.data.readers import EventStream, read_events
from recae.data.sample import load_sample
from recae.errors import ConfigError, DataError, EvaluationError
from recae.evaluation.leakage import refuse_leaks
from recae.evaluation.protocol import Protocol
from recae.evaluation.sections import (
    SAMPLE,
    DataSection,
    HeldOutUsers,
    LeaveLastOut,
    RandomRatings,
    SplitSection,
    Temporal,
)

SPLIT_ALREADY = "{source!r} comes split, so that its numbers compare with published ones; leave out {keys}"


def load_split(protocol: Protocol, seed: int | None = None) -> Split:
    """Load, filter and split the data of a protocol.

    Args:
        protocol: says what and how.
        seed: to split with; None for the protocol's (first) one.

    Raises:
        ConfigError: if a public split were to be split or filtered again, unsplit data lack a ``[split]``, or a split by time
            were to go by later events.
        DataError: if the data cannot be read, or nothing is left of them.
        LeakageError: if the model would have seen an answer.
    """
    data = protocol.data
    loaded, unreadable = _loaded(data, protocol.folder, _repeats(data, protocol.split))
    if isinstance(loaded, Split):
        changes = [key for key in ("min_value", "min_user_items", "min_item_users") if getattr(data, key)]
        changes = [f"data.{key}" for key in changes] + (["split"] if protocol.split is not None else [])
        if changes:
            raise ConfigError(SPLIT_ALREADY.format(source=data.source, keys=" and ".join(changes)))
        refuse_leaks(loaded)
        return split_for(data.feedback, loaded)
    if protocol.split is None:
        raise ConfigError(
            f"{data.source or data.path} does not come split; add a [split] table with its kind"
        )
    kept = filters.keep(
        loaded,
        feedback=data.feedback,
        min_value=data.min_value,
        min_user_items=data.min_user_items,
        min_item_users=data.min_item_users,
    )
    drawn = _split(kept, protocol.split, protocol.seed if seed is None else seed)
    refuse_leaks(drawn)
    split = split_for(data.feedback, drawn)
    notes = {
        "unreadable rows of the log": unreadable,
        "interactions dropped by the filters": len(loaded) - len(kept),
    }
    return replace(split, notes={reason: n for reason, n in notes.items() if n} | dict(split.notes))


def load_catalogue(protocol: Protocol) -> Catalogue | None:
    """Titles and categories of the items; None where the data have none.

    Raises:
        DataError: if the file that the protocol names is no catalogue.
    """
    data = protocol.data
    if data.path is not None:
        return None if data.catalogue is None else Catalogue.read(protocol.folder / data.catalogue)
    return load_sample()[1] if data.source == SAMPLE else benchmark_catalogue(str(data.source))


def check_refittable(split: Split, feedback: Feedback = "implicit") -> Holdout:
    """The validation part; refuses a split in which train and validation cannot become one matrix.

    Raises:
        EvaluationError: if a user is not in train: there is no one history to lengthen then; or, for a model that
            goes by order, if a user has several validation events, of which nobody knows which came first.
    """
    if split.validation is None:
        raise EvaluationError("there is no validation part to refit on")
    for holdout in (split.validation, split.test):
        if not all(user in split.train.users for user in holdout.users.ids):
            raise EvaluationError("refit needs a split of ratings or events; this one holds out whole users")
    if feedback == "sequences" and (np.diff(split.validation.targets.indptr) > 1).any():
        raise EvaluationError(
            "refit of a model of sequences needs one validation event a user; use leave_last_out, or leave refit out"
        )
    return split.validation


def refitting_split(split: Split, feedback: Feedback = "implicit") -> tuple[csr_array, Holdout]:
    """Train and validation as one matrix, and the test with histories from it; nothing in them is recommended.

    Args:
        split: with a validation part, whose users and test users are all users of train.
        feedback: of the model: with ``"sequences"`` the validation event takes the place after the training events.

    Returns:
        The training matrix, shape (n_users, n_items), and the test part.

    Raises:
        EvaluationError: as `check_refittable`.
    """
    validation = check_refittable(split, feedback)
    parts = split.train.matrix.tocoo(), validation.targets.tocoo()
    rows = split.train.users.positions(validation.users.ids, kind="user")
    entries = (
        np.concatenate([parts[0].coords[0], rows[parts[1].coords[0]]]),
        np.concatenate([parts[0].coords[1], parts[1].coords[1]]),
    )
    added = parts[1].data
    if feedback == "sequences":
        added = np.diff(split.train.matrix.indptr)[rows[parts[1].coords[0]]] + np.float32(1)
    values = np.concatenate([parts[0].data, added], dtype=np.float32)
    together = csr_array(coo_array((values, entries), shape=split.train.matrix.shape))  # a 0.0 stays stored
    test_rows = split.train.users.positions(split.test.users.ids, kind="user")
    histories = together[test_rows]
    return together, replace(split.test, inputs=histories, seen=histories, input_times=None)


def sha256_of(split: Split) -> str:
    """Of every matrix that is learned from or judged on, their shapes included; independent of index types."""
    digest = hashlib.sha256()
    holdouts = [split.test] if split.validation is None else [split.validation, split.test]
    matrices = [split.train.matrix] + [
        matrix
        for holdout in holdouts
        for matrix in (holdout.inputs, holdout.targets, holdout.seen, holdout.candidates)
        if matrix is not None
    ]
    for matrix in matrices:
        for part in (matrix.shape, matrix.indptr, matrix.indices):
            digest.update(np.asarray(part, dtype="<i8").tobytes())
        digest.update(np.asarray(matrix.data, dtype="<f4").tobytes())
    return digest.hexdigest()


def _repeats(data: DataSection, section: SplitSection | None) -> Repeats:
    """What several events of a pair become.

    Raises:
        ConfigError: if a split by time were to know what came later.
    """
    if not _goes_by_time(section):
        return data.duplicates or "last"
    if data.duplicates is not None:
        raise ConfigError(
            f"data.duplicates = {data.duplicates!r} goes by events that come later, and a split by time by the first of a user "
            "with an item; leave it out"
        )
    return "first"


def _goes_by_time(section: SplitSection | None) -> bool:
    return isinstance(section, LeaveLastOut | Temporal) or (
        isinstance(section, HeldOutUsers) and section.by == "time"
    )


def _loaded(data: DataSection, folder: Path, repeats: Repeats) -> tuple[Interactions | Split, int]:
    """The data, and how many rows of a log could not be read."""
    if data.path is not None:
        events = read_events(folder / data.path, columns=data.mapping)
        _check_values(data, events)
        return Interactions.from_events(events, duplicates=repeats), events.report.bad
    if data.source == SAMPLE:
        return load_sample()[0], 0
    return load_benchmark(str(data.source)), 0


def _check_values(data: DataSection, events: EventStream) -> None:
    """Refuse to go by values that the log does not have; sums and counts of events make some."""
    if "value" in events.columns or data.duplicates in {"sum", "count"}:
        return
    if data.feedback == "ratings" or data.min_value is not None:
        purpose = (
            "data.feedback = 'ratings'" if data.min_value is None else f"data.min_value = {data.min_value:g}"
        )
        raise DataError(
            f"{purpose} goes by values, and {data.path} has no column value: it has {', '.join(events.names)}; "
            'map the one with the values by data.columns = { value = "<its name in the log>" }'
        )


def _split(interactions: Interactions, section: SplitSection, seed: int) -> Split:
    match section:
        case HeldOutUsers():
            return splits.held_out_users(
                interactions,
                validation_users=section.validation_users,
                test_users=section.test_users,
                fold_in=section.fold_in,
                by=section.by,
                seed=seed,
            )
        case LeaveLastOut():
            return splits.leave_last_out(interactions, with_validation=section.with_validation, seed=seed)
        case Temporal():
            return splits.temporal(
                interactions,
                validation_share=section.validation_share,
                test_share=section.test_share,
                validation_from=section.validation_from,
                test_from=section.test_from,
            )
        case RandomRatings():
            return splits.random_ratings(
                interactions,
                validation_share=section.validation_share,
                test_share=section.test_share,
                seed=seed,
            )


def split_for(feedback: Feedback, split: Split) -> Split:
    """The same split with the values that a model of such feedback is to see.

    A model that does not go by order is fitted to ``split_for("implicit", split)`` where the split is of sequences: to
    the places of ``split.train`` it would give the latest event the highest weight.

    Raises:
        DataError: if order is asked for, and there are no times.
    """
    if feedback == "ratings":
        return replace(split, feedback=feedback)
    return replace(
        split,
        feedback=feedback,
        train=replace(split.train, matrix=values_for(feedback, split.train)),
        validation=None if split.validation is None else holdout_for(feedback, split.validation),
        test=holdout_for(feedback, split.test),
    )
