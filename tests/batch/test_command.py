"""`recae recommend-batch` in processes of its own: killed, out of disk, interrupted, and resumed."""

import json
import resource
import signal
import time

import pytest
from click.testing import CliRunner

from recae.artifacts import ModelStore
from recae.batch import Scorer
from recae.batch.job import BLOCK_USERS
from recae.cli import cli
from recae.data.eventlog import Event, EventLog
from recae.data.eventlog.items import StoredItem, StoredItems
from recae.history_rule import HistoryRule
from tests import processes
from tests.tastes import CATALOGUE, ITEMS, USERS, fitted_ease

PATIENCE_S = 60
N_LINES = 60_000


@pytest.fixture(autouse=True)
def workplace(tmp_path, home, monkeypatch):
    """A store with the two tastes in service, and a log in which a new user likes science fiction."""
    monkeypatch.setenv("RECAE_THREADS", "1")
    monkeypatch.chdir(tmp_path)
    promote_another(home)
    with EventLog(f"sqlite:///{home / 'events.db'}", home / "events") as log:
        log.append([Event("new", "a", timestamp=1), Event("new", "b", timestamp=2)])
    (tmp_path / "users.txt").write_text("\n".join(f"{number}" for number in range(N_LINES)))
    return tmp_path


def promote_another(home, l2=1.0):
    store = ModelStore(home / "models")
    store.promote(store.save(fitted_ease(l2), ITEMS, users=USERS, catalogue=CATALOGUE))


def in_process(*arguments):
    done = CliRunner().invoke(cli, ["recommend-batch", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done


def started(*arguments, **options):
    return processes.recae("recommend-batch", *arguments, **options)


def stopped_by(sent, arguments, progress):
    """Start the command, and send it the signal when some blocks are complete."""
    process = started(*arguments, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
    return processes.stopped(
        process, sent, lambda: progress.exists() and json.loads(progress.read_text())["n_blocks"] >= 2
    )


@pytest.mark.parametrize(
    ("name", "sent"),
    [("out.jsonl", signal.SIGKILL), ("out.parquet", signal.SIGKILL), ("out.parquet", signal.SIGINT)],
)
def test_a_killed_run_goes_on_to_the_same_file_whatever_has_changed_meanwhile(workplace, home, name, sent):
    options = ["--users", "users.txt", "-n", 3]
    in_process(f"whole.{name}", *options)

    code, said = stopped_by(sent, [name, *options], workplace / f".{name}.parts" / "progress.json")
    assert not (workplace / name).exists(), "it was stopped before the end"
    if sent == signal.SIGINT:
        assert code == 130
        assert "the same command with --resume goes on from there" in said
        assert "Traceback" not in said
    else:
        assert code == -signal.SIGKILL
    promote_another(home, l2=50.0)
    with EventLog(f"sqlite:///{home / 'events.db'}", home / "events") as log:
        log.append([Event("1", "x", timestamp=3)])
    resumed = json.loads(in_process(name, *options, "--resume", "--json").stdout)

    assert (workplace / name).read_bytes() == (workplace / f"whole.{name}").read_bytes()
    assert resumed["n_users"] == N_LINES
    assert 2_000 <= resumed["n_resumed"] < N_LINES
    assert [path for path in workplace.iterdir() if path.name.startswith(".out")] == []


def test_a_disk_that_takes_no_more_is_told_in_one_line_and_resumed(workplace):
    options = ["--users", "users.txt", "-n", 3]
    in_process("whole.jsonl", *options)

    def limit():  # room for every part, but not for the joined file
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))

    process = started("out.jsonl", *options, preexec_fn=limit)
    _, said = process.communicate(timeout=PATIENCE_S)

    assert process.returncode == 1
    assert said == (
        "Error: out.jsonl cannot be written: File too large; what is complete stays in .out.jsonl.parts, "
        "and a resumed run goes on from there\n"
    )
    assert not (workplace / "out.jsonl").exists()
    assert json.loads(in_process("out.jsonl", *options, "--resume", "--json").stdout)["n_resumed"] == N_LINES
    assert (workplace / "out.jsonl").read_bytes() == (workplace / "whole.jsonl").read_bytes()


def test_everybody_is_the_model_and_the_log(workplace):
    said = in_process("all.jsonl", "-n", 1).output
    lines = [json.loads(line) for line in (workplace / "all.jsonl").read_text().splitlines()]

    assert [line["user_id"] for line in lines] == [*USERS, "new"]
    assert lines[-1]["items"][0]["item_id"] == "c"
    assert "wrote 8 users (fold_in 1, model 7) to all.jsonl, by " in said


def test_what_was_hidden_since_the_training_is_not_recommended(workplace, home):
    with EventLog(f"sqlite:///{home / 'events.db'}", home / "events") as log:
        StoredItems(log.database).put([StoredItem("c", "Contact", hidden=True)])
    in_process("all.jsonl", "-n", 6)

    lines = [json.loads(line) for line in (workplace / "all.jsonl").read_text().splitlines()]
    assert not [line["user_id"] for line in lines if "c" in {item["item_id"] for item in line["items"]}]


def test_without_an_event_log_none_is_made(workplace, home):
    for file in home.glob("events.db*"):
        file.unlink()
    in_process("all.jsonl")

    assert len((workplace / "all.jsonl").read_text().splitlines()) == len(USERS)
    assert not list(home.glob("events.db*"))


def test_filters_and_the_format_of_personalize(workplace):
    (workplace / "some.txt").write_text("1\nstranger\n")
    in_process(
        "out",
        "--users",
        "some.txt",
        "--category",
        "drama",
        "-n",
        2,
        "--include-seen",
        "--format",
        "personalize",
    )
    first, second = (json.loads(line) for line in (workplace / "out").read_text().splitlines())

    assert (first["input"], first["output"]["recommendedItems"][0]) == ({"userId": "1"}, "c")
    assert second["output"]["recommendedItems"] == ["c", "x"], "equally popular"
    assert second["error"] is None


def test_a_resumed_run_counts_events_as_they_were_when_it_began(workplace, home, monkeypatch):
    """Half of what an event counts goes each day; those of the day it began are likings, ten days later they are not."""
    store = ModelStore(home / "models")
    fading = HistoryRule(half_life_days=1.0, min_value=0.5)
    store.promote(store.save(fitted_ease(), ITEMS, users=USERS, catalogue=CATALOGUE, history=fading))
    began = time.time()
    with EventLog(f"sqlite:///{home / 'events.db'}", home / "events") as log:
        log.append([Event("lately", "a", timestamp=int(began)), Event("lately", "b", timestamp=int(began))])
    users = [*(f"stranger {number}" for number in range(BLOCK_USERS)), "lately"]
    (workplace / "users.txt").write_text("\n".join(users))

    def in_the_second_block(scorer, block):
        return answers(scorer, block) if len(block) == BLOCK_USERS else interrupt()

    def interrupt():
        raise KeyboardInterrupt

    answers = Scorer.answers
    command = ["recommend-batch", "out.jsonl", "--users", "users.txt"]
    with monkeypatch.context() as patched:
        patched.setattr(Scorer, "answers", in_the_second_block)
        assert CliRunner().invoke(cli, command).exit_code != 0
    with monkeypatch.context() as patched:
        patched.setattr(time, "time", lambda: began + 10 * 86_400)
        done = CliRunner().invoke(cli, [*command, "--resume"])
        assert done.exit_code == 0, done.output
        in_process("later.jsonl", "--users", "users.txt")

    resumed, later = (
        json.loads((workplace / name).read_text().splitlines()[-1]) for name in ("out.jsonl", "later.jsonl")
    )
    assert (resumed["user_id"], resumed["strategy"], resumed["items"][0]["item_id"]) == (
        "lately",
        "fold_in",
        "c",
    )
    assert later["strategy"] == "fallback"


def test_resuming_what_was_never_begun_begins_it(workplace):
    said = in_process("all.jsonl", "--resume").output

    assert "no stopped run of all.jsonl: starting from the beginning" in said
    assert (workplace / "all.jsonl").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["out.csv"], "ends in .csv; expected .jsonl or .parquet"),
        (["out.jsonl", "--users", "nowhere.txt"], "no file of users at nowhere.txt"),
        (["missing/out.jsonl"], "there is no folder missing"),
        (["out.jsonl", "--model-version", "v9"], "no version 'v9'"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(arguments, message):
    done = CliRunner().invoke(cli, ["recommend-batch", *arguments])

    assert done.exit_code == 1
    assert message in done.output
    assert done.output.count("\n") == 1
