"""What a batch is written as: a part for each block, and all parts joined to the file.

A part is bytes, so that a run that was killed and resumed ends with the same file as one that was not.
"""

import json
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from recae.batch.scoring import Answer
from recae.errors import ConfigError

SCHEMA = pa.schema(
    [
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("strategy", pa.string()),
        pa.field("item_ids", pa.list_(pa.string())),
        pa.field("scores", pa.list_(pa.float32())),
        pa.field("short", pa.string()),
        pa.field("error", pa.string()),
    ]
)
"""The Parquet file of a batch: one row a user, the lists best first; ``short`` says why there are fewer items than asked for."""

ROW_GROUP = 65_536
"""Users of one row group."""


class Format(ABC):
    """One way to write a batch."""

    name: ClassVar[str]

    @abstractmethod
    def part(self, answers: Sequence[Answer]) -> bytes:
        """One block."""

    @abstractmethod
    def join(self, parts: Iterable[Path], target: Path) -> None:
        """Write all parts, in their order, into one file."""


class Jsonl(Format):
    """One JSON object a line."""

    name = "jsonl"

    def part(self, answers: Sequence[Answer]) -> bytes:
        """The lines."""
        lines = (json.dumps(self.line(answer), ensure_ascii=False) for answer in answers)
        return "".join(f"{line}\n" for line in lines).encode()

    def join(self, parts: Iterable[Path], target: Path) -> None:
        """One after the other."""
        with target.open("wb") as file:
            for part in parts:
                with part.open("rb") as source:
                    shutil.copyfileobj(source, file, 2**20)

    def line(self, answer: Answer) -> dict[str, Any]:
        """What stands in one line."""
        pairs = zip(answer.item_ids, answer.scores, strict=True)
        return {
            "user_id": answer.user_id,
            "strategy": answer.strategy,
            "items": [{"item_id": item_id, "score": score} for item_id, score in pairs],
            "short": answer.short,
            "error": answer.error,
        }


class Personalize(Jsonl):
    """The lines that Amazon Personalize's batch inference writes."""

    name = "personalize"

    def line(self, answer: Answer) -> dict[str, Any]:
        """What stands in one line."""
        output = {"recommendedItems": list(answer.item_ids), "scores": list(answer.scores)}
        return {
            "input": {"userId": answer.user_id},
            "output": output if answer.error is None else None,
            "error": answer.error,
        }


class Parquet(Format):
    """A Parquet file with the columns of ``SCHEMA``."""

    name = "parquet"

    def part(self, answers: Sequence[Answer]) -> bytes:
        """The block as a small Parquet file."""
        columns = [[getattr(answer, name) for answer in answers] for name in SCHEMA.names]
        buffer = BytesIO()
        pq.write_table(pa.table(columns, schema=SCHEMA), buffer)
        return buffer.getvalue()

    def join(self, parts: Iterable[Path], target: Path) -> None:
        """Some parts together are a row group, so that readers find few and large ones."""
        with pq.ParquetWriter(target, SCHEMA, compression="zstd") as writer:
            waiting: list[pa.Table] = []
            for part in parts:
                waiting.append(pq.read_table(part, schema=SCHEMA, partitioning=None))
                if sum(table.num_rows for table in waiting) >= ROW_GROUP:
                    writer.write_table(pa.concat_tables(waiting).combine_chunks())
                    waiting = []
            if waiting:
                writer.write_table(pa.concat_tables(waiting).combine_chunks())


def format_of(output: Path, name: str | None) -> Format:
    """The format that is named, or that the output's name says.

    Raises:
        ConfigError: if neither says one, or the two do not go together.
    """
    by_suffix: dict[str, type[Format]] = {".jsonl": Jsonl, ".parquet": Parquet}
    by_name: dict[str, type[Format]] = {made.name: made for made in (Jsonl, Parquet, Personalize)}
    if name is None:
        if output.suffix not in by_suffix:
            raise ConfigError(
                f"{output} ends in {output.suffix or 'nothing'}; expected .jsonl or .parquet, or name a format"
            )
        return by_suffix[output.suffix]()
    if name not in by_name:
        raise ConfigError(f"there is no format {name!r}; expected one of {', '.join(by_name)}")
    if (name == "parquet") != (output.suffix == ".parquet"):
        raise ConfigError(f"the format {name} does not go with the name {output}; rename one of them")
    return by_name[name]()
