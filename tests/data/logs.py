"""Logs as files, and what the readers make of them."""

import gzip
import json
from pathlib import Path

import pandas as pd

from recae.data.readers import read_events

HEADER = "user_id,item_id,timestamp,value\n"
GOOD = "u,i,1,1\n"


def write(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    raw = text if isinstance(text, bytes) else text.encode()
    path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    return path


def read(source: Path, **options) -> pd.DataFrame:
    return pd.concat(read_events(source, **options), ignore_index=True)


def bad_rows(source: Path, **options) -> list[dict]:
    """What ends up in the quarantine when any number of bad rows is allowed."""
    kept = source.parent / "bad" / "rows.jsonl"
    for _ in read_events(source, quarantine=kept, max_bad_share=1.0, **options):
        pass
    return [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
