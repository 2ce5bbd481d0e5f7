"""The event log and the readers: events a second into databases, rows a second from files to a matrix, and memory.

    make bench-log                                              print the table
    make bench-log ARGS="--output evaluation/results/bench"     write eventlog.md there too
    make bench-log ARGS="--rows 50000000"                       another size for the memory of Parquet to matrix; 0 for none

Made-up events in the order of their times: users and items with popularities as uneven as real ones, text ids. All
files and databases lie in a temporary folder. PostgreSQL is a server of this run's own where its programs are
installed, as shipped: with fsync. Each number is the median of several runs, each into a new database. CPU is what
this process used alone, whoever else kept the machine busy; a server's own work is not in it.
"""

import multiprocessing
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from tables import markdown_table, parser_of, peak_memory_mib, provenance, publish

from recae.data.eventlog import Event, EventLog
from recae.data.eventlog.ingest import ingest
from recae.data.interactions import Interactions
from recae.data.readers import read_events
from recae.progress import track
from recae.threads import limit_threads

N_USERS, N_ITEMS = 200_000, 50_000
START, EVENTS_A_SECOND = 1_600_000_000, 5
PART_ROWS = 1_000_000
N_INGESTED, N_READ = 1_000_000, 2_000_000
RUNS = 3
N_THREADS, APPENDS_A_THREAD = 8, 200
ROOT = Path(__file__).parents[2]
NUMBERS = count()
T = TypeVar("T")

Row = tuple[str, str, str, str, str]
"""What, what to reach, median by the clock, median by processor time, single runs by the clock."""
Times = tuple[float, float]
"""Seconds by the clock, and of processor time."""


def events(first: int, n: int) -> pa.Table:
    """``n`` events from number ``first`` on: user_id, item_id, timestamp, event_type."""
    rng = np.random.default_rng(first)
    numbers = np.arange(first, first + n)
    users = (N_USERS * rng.random(n) ** 2).astype(np.int64)
    items = (N_ITEMS * rng.random(n) ** 4).astype(np.int64)
    kinds = pa.array(["view", "buy"]).take(pa.array((rng.random(n) < 0.1).astype(np.int8)))
    return pa.table(
        {
            "user_id": pa.compute.binary_join_element_wise("user", pa.array(users).cast(pa.string()), "-"),
            "item_id": pa.compute.binary_join_element_wise("item", pa.array(items).cast(pa.string()), "-"),
            "timestamp": pa.array(START + numbers // EVENTS_A_SECOND),
            "event_type": kinds,
        }
    )


def write(path: Path, n: int) -> Path:
    """A Parquet or CSV file of ``n`` events, made in parts."""
    schema = events(0, 1).schema
    writer = (
        pq.ParquetWriter(path, schema)
        if path.suffix == ".parquet"
        else pyarrow.csv.CSVWriter(
            path, schema, write_options=pyarrow.csv.WriteOptions(quoting_style="needed")
        )
    )
    with writer:
        for first in range(0, n, PART_ROWS):
            writer.write_table(events(first, min(PART_ROWS, n - first)))
    return path


def seconds(work: Callable[[], object]) -> Times:
    """Of one run."""
    start = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start[0], time.process_time() - start[1]


def rate(what: str, bar: str, n: int, runs: list[Times], unit: str) -> Row:
    """A line of the table: ``n`` things in each of ``runs``."""
    by_clock, by_cpu = ([n / found for found in times] for times in zip(*runs, strict=True))
    clock, cpu = (f"{statistics.median(rates):,.0f} {unit}" for rates in (by_clock, by_cpu))
    return what, bar, clock, cpu, ", ".join(f"{found:,.0f}" for found in sorted(by_clock))


# ------------------------------------------------------------------ into the log


@contextmanager
def databases(folder: Path) -> Iterator[dict[str, Callable[[], str]]]:
    """Name -> the URL of a new, empty database; PostgreSQL only where its programs are installed."""
    sys.path.insert(0, str(ROOT))  # the tests know how to start a server
    from tests import postgres

    def sqlite() -> str:
        return f"sqlite:///{folder / f'{next(NUMBERS)}.db'}"

    if postgres.programs() is None:
        yield {"SQLite": sqlite}
        return
    import psycopg

    with postgres.server() as address:

        def postgresql() -> str:
            name = f"bench_{next(NUMBERS)}"
            with psycopg.connect(f"{address}/postgres", autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name}")
            return f"{address}/{name}"

        yield {"SQLite": sqlite, "PostgreSQL": postgresql}


def ingest_s(url: str, folder: Path, source: Path) -> Times:
    """Seconds to ingest a file into an empty log."""
    with EventLog(url, folder / f"archive-{next(NUMBERS)}") as log:
        return seconds(lambda: ingest(log, source))


def appends_s(url: str, folder: Path) -> Times:
    """Seconds for single events, each appended and waited for, from several threads at once."""
    with EventLog(url, folder / f"archive-{next(NUMBERS)}") as log:
        log.append([Event("u", "i")])
        barrier = threading.Barrier(N_THREADS + 1)

        def client(thread: int) -> None:
            barrier.wait()
            for number in range(APPENDS_A_THREAD):
                log.append([Event(f"u{thread}", f"i{number}")])

        clients = [threading.Thread(target=client, args=(thread,)) for thread in range(N_THREADS)]
        for one in clients:
            one.start()

        def all_of_them() -> None:
            barrier.wait()
            for one in clients:
                one.join()

        return seconds(all_of_them)


# ------------------------------------------------------------------ to a matrix


def matrix_of(path: Path) -> Interactions:
    """From a file to a matrix, the way `recae train` goes."""
    return Interactions.from_events(read_events(path))


def matrix_s(path: Path) -> Times:
    """Seconds of it in a process of its own; a small file comes first, so that all is loaded."""
    limit_threads()
    small = write(path.with_name(f"small-{next(NUMBERS)}{path.suffix}"), 1_000)
    matrix_of(small)
    return seconds(lambda: matrix_of(path))


def matrix_memory(path: Path) -> tuple[Times, float]:
    """Seconds, and peak memory of the whole process in MiB."""
    limit_threads()
    return seconds(lambda: matrix_of(path)), peak_memory_mib()


def in_a_process(work: Callable[[Path], T], path: Path) -> T:
    """The result of ``work`` in a new process."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=spawn) as process:
        return process.submit(work, path).result()


def bench_read_parquet() -> Callable[[], object]:
    """Parquet to a matrix, 500,000 rows"""
    return reading("parquet")


def bench_read_csv() -> Callable[[], object]:
    """CSV to a matrix, 500,000 rows"""
    return reading("csv")


def reading(kind: str) -> Callable[[], object]:
    """The work; the file goes with it."""
    folder = tempfile.TemporaryDirectory(prefix="recae-bench-")
    write(Path(folder.name) / f"events.{kind}", 500_000)
    return lambda: matrix_of(Path(folder.name) / f"events.{kind}")


def main() -> None:
    """Measure, print the table, and write it where asked."""
    parser = parser_of("The event log and the readers.", "eventlog.md")
    parser.add_argument("--rows", type=int, default=50_000_000, help="of the Parquet file for the memory")
    options = parser.parse_args()
    table: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="recae-bench-") as named:
        folder = Path(named)
        sources = {kind: write(folder / f"ingested.{kind}", N_INGESTED) for kind in ("parquet", "csv")}
        bars = {"SQLite": "200,000", "PostgreSQL": "50,000"}
        with databases(folder) as known:
            for name, url in known.items():
                for kind, source in sources.items():
                    times = [ingest_s(url(), folder, source) for _ in track(range(RUNS), f"{name}, {kind}")]
                    what = f"{kind} to {name}, {N_INGESTED:,} events"
                    table.append(rate(what, bars[name], N_INGESTED, times, "events/s"))
            for name, url in known.items():
                times = [appends_s(url(), folder) for _ in track(range(RUNS), f"{name}, appends")]
                what = f"single durable appends to {name} from {N_THREADS} threads"
                table.append(rate(what, "", N_THREADS * APPENDS_A_THREAD, times, "appends/s"))
        for kind, bar in (("parquet", "1,500,000"), ("csv", "500,000")):
            path = write(folder / f"read.{kind}", N_READ)
            runs = [in_a_process(matrix_s, path) for _ in track(range(RUNS), f"{kind} to matrix")]
            table.append(rate(f"{kind} to a matrix, {N_READ:,} rows", bar, N_READ, runs, "rows/s"))
        if options.rows:
            path = write(folder / "large.parquet", options.rows)
            (by_clock, by_cpu), mib = in_a_process(matrix_memory, path)
            what = f"memory of parquet to a matrix, {options.rows:,} rows"
            table.append((what, "4,096 MiB", f"{mib:,.0f} MiB", f"{by_cpu:,.0f} s", f"{by_clock:,.0f} s"))
    paragraphs = (
        "# The event log and the readers",
        provenance("make bench-log", limit_threads()),
        (__doc__ or "").split("\n\n", 2)[-1].strip(),
        markdown_table(("what", "to reach", "median", "by CPU", "single runs"), table),
    )
    publish(paragraphs, options.output, "eventlog.md")


if __name__ == "__main__":
    main()
