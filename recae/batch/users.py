"""Who a batch is for: everybody the model or the event log knows, or the users of a file."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from recae import durable
from recae.data.eventlog.snapshot import Snapshot
from recae.data.idmap import IdMap
from recae.data.ids import LONGEST_ID, IdFault, id_fault
from recae.errors import DataError


class Asked(NamedTuple):
    """A user that is asked for."""

    user_id: str
    """As the input has it; of what is no text, its JSON."""
    problem: str | None = None
    """Why there can be no answer."""


class Users(ABC):
    """Users in a fixed order."""

    @property
    @abstractmethod
    def identity(self) -> str:
        """Differs if the users differ."""

    @abstractmethod
    def __len__(self) -> int:
        """How many there are."""

    @abstractmethod
    def __iter__(self) -> Iterator[Asked]: ...


class AllUsers(Users):
    """The users the model learned from, in the order of its rows, then those that only the event log knows.

    Args:
        trained: the model's users; None if they were not stored.
        snapshot: of the event log; None without one.
    """

    def __init__(self, trained: IdMap | None, snapshot: Snapshot | None) -> None:
        self._trained = trained if trained is not None else IdMap([])
        self._snapshot = snapshot

    @property
    def identity(self) -> str:
        """The model and the watermark are part of a batch's own identity."""
        return "all"

    def __len__(self) -> int:
        return sum(1 for _ in self._ids())

    def __iter__(self) -> Iterator[Asked]:
        return (_asked(user_id) for user_id in self._ids())

    def _ids(self) -> Iterator[str]:
        yield from self._trained
        if self._snapshot is not None:
            yield from (user_id for user_id in self._snapshot.user_ids() if user_id not in self._trained)


class UsersFile(Users):
    """The users of a file, each once, at the first place that names them; what is no id stays wherever it stands.

    ``.parquet``: the column user_id. ``.jsonl`` and ``.json``: an object a line, with user_id, or userId as Amazon
    Personalize has it. Any other name: one id a line. Empty lines are skipped. All ids are in memory while they are read.

    Raises:
        DataError: if there is no such file, or it is no Parquet file with a column user_id.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise DataError(f"no file of users at {self.path}; expected one id a line, JSONL or Parquet")
        if self.path.suffix == ".parquet":
            self._check_parquet()
        self._sha256 = durable.sha256_of(self.path)

    @property
    def identity(self) -> str:
        """A hash of the file."""
        return self._sha256

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __iter__(self) -> Iterator[Asked]:
        named: set[str] = set()
        for asked in self._rows():
            if asked.problem is None:
                if asked.user_id in named:
                    continue
                named.add(asked.user_id)
            yield asked

    def _rows(self) -> Iterator[Asked]:
        if self.path.suffix == ".parquet":
            return (_asked(value) for value in self._parquet())
        is_json = self.path.suffix in (".jsonl", ".json")
        return (_of_json(line) if is_json else _asked(line) for line in self._lines())

    def _lines(self) -> Iterator[bytes]:
        with self.path.open("rb") as file:
            for line in file:
                stripped = line.rstrip(b"\r\n")
                if stripped.strip():
                    yield stripped

    def _parquet(self) -> Iterator[Any]:
        with pq.ParquetFile(self.path) as file:
            for block in file.iter_batches(columns=["user_id"]):
                yield from block.column(0).to_pylist()

    def _check_parquet(self) -> None:
        try:
            with pq.ParquetFile(self.path) as file:
                names = file.schema_arrow.names
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{self.path} cannot be read: {error}; expected Parquet") from error
        if "user_id" not in names:
            raise DataError(f"{self.path} has the columns {names}; expected user_id among them")


def _of_json(line: bytes) -> Asked:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return Asked(line.decode(errors="replace"), "the line is no JSON")
    if not isinstance(found, dict) or not ("user_id" in found or "userId" in found):
        return Asked(line.decode(errors="replace"), "expected an object with user_id or userId")
    return _asked(found.get("user_id", found.get("userId")))


def _asked(value: Any) -> Asked:
    """An id under the rules of the HTTP API: text, or an integer as its decimal digits; 1 to 256 characters."""
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            return Asked(value.decode(errors="replace"), "the id is not UTF-8")
    match id_fault(value):
        case None:
            return Asked(str(value))
        case IdFault.KIND:
            return Asked(json.dumps(value, default=str), "an id is a string or an integer")
        case IdFault.LENGTH:
            text = str(value)
            return Asked(_valid(text), f"an id has 1 to {LONGEST_ID} characters, not {len(text)}")
        case IdFault.UNICODE:
            return Asked(_valid(value), "the id holds half a surrogate pair")
        case IdFault.ZERO_BYTE:
            return Asked(value, "the id holds a zero byte")


def _valid(text: str) -> str:
    """Text that UTF-8, and so every format of a batch, can carry: JSON can spell half a surrogate pair."""
    return text.encode(errors="replace").decode()


def blocks(users: Iterable[Asked], size: int, skip: int = 0) -> Iterator[list[Asked]]:
    """Blocks of ``size`` successive users, the last maybe shorter, without the first ``skip`` blocks."""
    block: list[Asked] = []
    for number, asked in enumerate(users):
        if number < skip * size:
            continue
        block.append(asked)
        if len(block) == size:
            yield block
            block = []
    if block:
        yield block
