"""A batch from its first block to the finished file, and from where it was stopped.

    <output>                  appears complete, or not at all
    .<output>.parts/          beside it, while the batch runs
        progress.json         what the batch is, and how many blocks are complete
        part-000000, ...      one for each block

A block counts when progress.json says so, which is after its part is on the disk. What a stopped run had begun
beyond that is done again, and gives the same bytes.
"""

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from pydantic import BaseModel

from recae import durable
from recae.batch.formats import Format
from recae.batch.scoring import Scorer
from recae.batch.users import Users, blocks
from recae.errors import BatchError
from recae.progress import Bar, bar

BLOCK_USERS = 1_000
PROGRESS = "progress.json"
FORM = 3
"""Of parts, and of how users fall into blocks: parts of another form are not gone on with."""


class Progress(BaseModel):
    """The state of a batch."""

    identity: dict[str, Any]
    """What must be the same for the parts to be of one file."""
    n_blocks: int = 0
    """Complete ones."""
    n_users: int = 0
    """In the complete blocks."""
    counts: dict[str, int] = {}
    """Strategy, or "error" -> users."""


@dataclass(frozen=True)
class Finished:
    """What a batch has done."""

    n_users: int
    counts: Mapping[str, int]
    """Strategy, or "error" -> users."""
    n_resumed: int
    """Users whose answers an earlier run had made."""
    seconds: float
    """Of this run."""

    @property
    def users_per_s(self) -> float:
        """Of this run, reading the users and joining the parts included."""
        return (self.n_users - self.n_resumed) / max(self.seconds, 1e-9)


class Batch:
    """Recommendations for many users, written to one file.

    Args:
        output: the file; one that is there is replaced in the end.
        block_users: users that are scored and stored at once.
    """

    def __init__(self, output: str | Path, block_users: int = BLOCK_USERS) -> None:
        self.output = Path(output)
        self.parts = self.output.with_name(f".{self.output.name}.parts")
        self.block_users = block_users

    def progress(self) -> Progress | None:
        """What a stopped run has left; None if there is none.

        Raises:
            BatchError: if it cannot be read.
        """
        path = self.parts / PROGRESS
        try:
            return Progress.model_validate_json(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (ValueError, OSError) as error:
            raise BatchError(f"{path} is damaged; start anew, without resuming") from error

    def run(
        self,
        scorer: Scorer,
        users: Users,
        written_as: Format,
        identity: Mapping[str, Any],
        *,
        resume: bool = False,
        show_progress: bool = True,
    ) -> Finished:
        """Answer everybody.

        Args:
            scorer: what answers.
            users: in a fixed order.
            written_as: the format.
            identity: what the answers depend on, beside the users, the format and the size of blocks; as JSON has it.
            resume: go on after the last complete block of a stopped run, if there is one.
            show_progress: show a bar.

        Raises:
            BatchError: if the file cannot be written, another run writes it, or the run to resume was another batch.
        """
        started = perf_counter()
        whole = {
            **identity,
            "users": users.identity,
            "format": written_as.name,
            "block_users": self.block_users,
            "form": FORM,
        }
        with self._errors_named(), self._held():
            progress = self._begin(whole, resume=resume)
            n_resumed = progress.n_users
            with bar("recommending", len(users), show=show_progress) as running:
                running.advance(n_resumed)
                for block in blocks(users, self.block_users, skip=progress.n_blocks):
                    answers = scorer.answers(block)
                    part = self._part(progress.n_blocks)
                    part.write_bytes(written_as.part(answers))
                    durable.sync(part)
                    kinds: Counter[str] = Counter(answer.strategy or "error" for answer in answers)
                    progress = Progress(
                        identity=whole,
                        n_blocks=progress.n_blocks + 1,
                        n_users=progress.n_users + len(block),
                        counts=dict(Counter(progress.counts) + kinds),
                    )
                    self._store(progress)
                    _tell(running, len(block), progress.n_users - n_resumed, perf_counter() - started)
            self._finish(progress, written_as)
        return Finished(progress.n_users, progress.counts, n_resumed, perf_counter() - started)

    def _begin(self, identity: dict[str, Any], *, resume: bool) -> Progress:
        """Where to start: after what is complete, or from the beginning with an empty folder."""
        earlier = self.progress() if resume else None
        if earlier is not None:
            _refuse_other(earlier.identity, identity)
            return earlier
        for leftover in self.parts.iterdir():
            leftover.unlink()
        progress = Progress(identity=identity)
        self._store(progress)
        return progress

    def _finish(self, progress: Progress, written_as: Format) -> None:
        joined = self.parts / "joined"
        written_as.join(map(self._part, range(progress.n_blocks)), joined)
        durable.sync(joined)
        joined.replace(self.output)
        durable.sync(self.output.parent)
        shutil.rmtree(self.parts)

    def _part(self, number: int) -> Path:
        return self.parts / f"part-{number:06}"

    def _store(self, progress: Progress) -> None:
        durable.sync(self.parts)  # the part's name, before progress counts it
        durable.write_file(self.parts / PROGRESS, progress.model_dump_json())

    @contextmanager
    def _held(self) -> Iterator[None]:
        """The folder of parts is there, and nobody else writes into it."""
        if self.output.is_dir():
            raise BatchError(f"{self.output} is a folder; expected the name of a file to write")
        if not self.output.parent.is_dir():
            raise BatchError(f"there is no folder {self.output.parent}; make it first")
        self.parts.mkdir(exist_ok=True)
        with ExitStack() as stack:
            try:
                stack.enter_context(durable.locked(self.parts, wait=False))
            except BlockingIOError as error:
                raise BatchError(
                    f"another run is writing {self.output}; let it finish, or name another file"
                ) from error
            yield

    @contextmanager
    def _errors_named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise BatchError(
                f"{self.output} cannot be written: {error.strerror or error}; what is complete stays in "
                f"{self.parts}, and a resumed run goes on from there"
            ) from error


def _refuse_other(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    different = [name for name in now if earlier.get(name) != now[name]]
    if different:
        name = different[0]
        raise BatchError(
            f"the stopped run had {name} {earlier.get(name)!r}, this one has {now[name]!r}; give the same options, "
            "or start anew without resuming"
        )


def _tell(running: Bar, advanced: int, done: int, seconds: float) -> None:
    running.advance(advanced)
    running.note(f"{done / max(seconds, 1e-9):,.0f} users/s")
