"""Three events as files of every format, and what a log holds of them."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet

ROWS = [("u1", "a", 10), ("u2", "b", 20), ("u1", "c", 30)]
HEADER = "user_id,item_id,timestamp"
CSV = "\n".join([HEADER, *(",".join(map(str, row)) for row in ROWS)]) + "\n"
OBJECTS = [dict(zip(HEADER.split(","), row, strict=True)) for row in ROWS]


def stored(log):
    """Who, what and when of all events, in the order of their arrival."""
    return [
        (row["user_id"], row["item_id"], row["timestamp"])
        for table in log.stream()
        for row in table.to_pylist()
    ]


def written(path):
    """The three rows in the format of the path's name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    match path.name.partition(".")[2]:
        case "csv":
            path.write_text(CSV)
        case "csv.gz":
            path.write_bytes(gzip.compress(CSV.encode()))
        case "jsonl":
            path.write_text("".join(json.dumps(found) + "\n" for found in OBJECTS))
        case "parquet":
            pa.parquet.write_table(pa.Table.from_pylist(OBJECTS), path)
    return path
