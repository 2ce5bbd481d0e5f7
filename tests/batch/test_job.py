"""A batch from its users to its file: formats, resuming, and what stands in the way."""

import json

import pyarrow.parquet as pq
import pytest

from recae import durable
from recae.batch import Batch, Filters, Scorer, UsersFile
from recae.batch.formats import ROW_GROUP, SCHEMA, Jsonl, Parquet, Personalize, format_of
from recae.batch.scoring import Answer
from recae.errors import BatchError, ConfigError
from tests.tastes import two_tastes

LINES = [str(number) for number in range(25)]  # 1 to 7 are known


class StoppedError(Exception):
    """As if the process had ended."""


class StoppedScorer(Scorer):
    """Answers so many blocks, and then no more."""

    left = 2

    def answers(self, block):
        if not self.left:
            raise StoppedError
        self.left -= 1
        return super().answers(block)


@pytest.fixture
def users(tmp_path):
    path = tmp_path / "users.txt"
    path.write_text("\n".join(LINES))
    return UsersFile(path)


@pytest.fixture
def scorer():
    return Scorer(two_tastes(), Filters(n=2))


def run(output, users, scorer, resume=False, **identity):
    return Batch(output, block_users=4).run(scorer, users, format_of(output, None), identity, resume=resume)


def leftovers(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_every_user_has_a_line_in_the_order_of_the_file(tmp_path, users, scorer):
    done = run(tmp_path / "out.jsonl", users, scorer)
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]

    assert [line["user_id"] for line in lines] == LINES
    assert lines[1]["items"][0]["item_id"] == "c"
    assert lines[1]["strategy"] == "model"
    assert (done.n_users, done.n_resumed) == (25, 0)
    assert done.counts == {"model": 7, "fallback": 18}
    assert leftovers(tmp_path) == []


def test_parquet_holds_the_same_as_json(tmp_path, users, scorer):
    run(tmp_path / "out.jsonl", users, scorer)
    run(tmp_path / "out.parquet", users, scorer)
    table = pq.read_table(tmp_path / "out.parquet")
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]

    assert table.schema.equals(SCHEMA)
    for row, line in zip(table.to_pylist(), lines, strict=True):
        assert (row["user_id"], row["strategy"], row["error"]) == (line["user_id"], line["strategy"], None)
        assert row["item_ids"] == [item["item_id"] for item in line["items"]]
        assert row["scores"] == [item["score"] for item in line["items"]]
        assert row["short"] is line["short"] is None


def test_both_of_our_formats_say_why_there_are_fewer_items_than_asked_for(tmp_path, users):
    everything = Scorer(two_tastes(), Filters(n=5))
    run(tmp_path / "out.jsonl", users, everything)
    run(tmp_path / "out.parquet", users, everything)
    table = pq.read_table(tmp_path / "out.parquet")
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]

    assert table.column("short").to_pylist() == [line["short"] for line in lines]
    assert [line["short"] for line in lines[:2]] == [
        None,
        "4 items are left after what was seen, excluded or filtered out",
    ]


def test_personalizes_lines_are_as_amazon_writes_them():
    text = (
        Personalize()
        .part([Answer("1", "model", ["a", "b"], [0.5, 0.25]), Answer("", error="no id")])
        .decode()
    )

    assert text == (
        '{"input": {"userId": "1"}, "output": {"recommendedItems": ["a", "b"], "scores": [0.5, 0.25]}, "error": null}\n'
        '{"input": {"userId": ""}, "output": null, "error": "no id"}\n'
    )


@pytest.mark.parametrize("name", ["out.jsonl", "out.parquet"])
@pytest.mark.parametrize("is_torn", [False, True])
def test_a_stopped_run_goes_on_and_ends_with_the_same_bytes(tmp_path, users, scorer, name, is_torn):
    whole, output = tmp_path / f"whole.{name}", tmp_path / name
    run(whole, users, scorer)
    with pytest.raises(StoppedError):
        run(output, users, StoppedScorer(two_tastes(), Filters(n=2)))
    assert not output.exists()
    if is_torn:  # killed while it wrote the third part
        (tmp_path / f".{name}.parts" / "part-000002").write_bytes(b"half a")
    done = run(output, users, scorer, resume=True)

    assert output.read_bytes() == whole.read_bytes()
    assert (done.n_users, done.n_resumed, done.counts) == (25, 8, {"model": 7, "fallback": 18})
    assert leftovers(tmp_path) == []


def test_a_run_stopped_after_its_last_step_is_resumed_to_the_same_file(tmp_path, users, scorer, monkeypatch):
    output = tmp_path / "out.jsonl"
    with monkeypatch.context() as patched:
        patched.setattr("recae.batch.job.shutil.rmtree", lambda _folder: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(output, users, scorer)
    before = output.read_bytes()
    done = run(output, users, scorer, resume=True)

    assert (output.read_bytes(), done.n_resumed) == (before, 25)
    assert leftovers(tmp_path) == []


def test_without_resume_what_a_stopped_run_left_is_thrown_away(tmp_path, users, scorer):
    with pytest.raises(StoppedError):
        run(tmp_path / "out.jsonl", users, StoppedScorer(two_tastes(), Filters(n=1)), n=1)

    assert run(tmp_path / "out.jsonl", users, scorer, n=2).n_resumed == 0
    assert leftovers(tmp_path) == []


def test_another_batch_is_not_resumed(tmp_path, users, scorer):
    with pytest.raises(StoppedError):
        run(tmp_path / "out.jsonl", users, StoppedScorer(two_tastes(), Filters(n=1)), n=1)
    with pytest.raises(BatchError, match=r"the stopped run had n 1, this one has 2; .*start anew"):
        run(tmp_path / "out.jsonl", users, scorer, resume=True, n=2)


def test_a_run_stopped_before_parts_had_the_form_they_have_is_not_resumed(tmp_path, users, scorer):
    output = tmp_path / "out.jsonl"
    with pytest.raises(StoppedError):
        run(output, users, StoppedScorer(two_tastes(), Filters(n=2)))
    path = tmp_path / ".out.jsonl.parts" / "progress.json"
    progress = json.loads(path.read_text())
    del progress["identity"]["form"]
    path.write_text(json.dumps(progress))

    with pytest.raises(BatchError, match=r"the stopped run had form None, this one has 3; .*start anew"):
        run(output, users, scorer, resume=True)


def test_other_users_are_not_resumed(tmp_path, users, scorer):
    with pytest.raises(StoppedError):
        run(tmp_path / "out.jsonl", users, StoppedScorer(two_tastes(), Filters(n=2)))
    users.path.write_text("1\n2\n")
    with pytest.raises(BatchError, match="the stopped run had users"):
        run(tmp_path / "out.jsonl", UsersFile(users.path), scorer, resume=True)


def test_a_damaged_state_is_named(tmp_path, users, scorer):
    (tmp_path / ".out.jsonl.parts").mkdir()
    (tmp_path / ".out.jsonl.parts" / "progress.json").write_text("{")

    with pytest.raises(BatchError, match=r"progress\.json is damaged; start anew"):
        run(tmp_path / "out.jsonl", users, scorer, resume=True)
    assert run(tmp_path / "out.jsonl", users, scorer).n_users == 25


def test_two_runs_do_not_write_one_file(tmp_path, users, scorer):
    parts = tmp_path / ".out.jsonl.parts"
    parts.mkdir()
    with durable.locked(parts), pytest.raises(BatchError, match="another run is writing"):
        run(tmp_path / "out.jsonl", users, scorer)


def test_a_file_that_is_there_stays_until_the_new_one_is_complete(tmp_path, users, scorer):
    output = tmp_path / "out.jsonl"
    output.write_text("old")
    with pytest.raises(StoppedError):
        run(output, users, StoppedScorer(two_tastes(), Filters(n=2)))
    assert output.read_text() == "old"
    run(output, users, scorer, resume=True)
    assert len(output.read_text().splitlines()) == 25


def test_nobody_gives_an_empty_file(tmp_path, scorer):
    (tmp_path / "nobody.txt").write_text("\n")
    nobody = UsersFile(tmp_path / "nobody.txt")
    run(tmp_path / "out.jsonl", nobody, scorer)
    run(tmp_path / "out.parquet", nobody, scorer)

    assert (tmp_path / "out.jsonl").read_bytes() == b""
    assert pq.read_table(tmp_path / "out.parquet").schema.equals(SCHEMA)


def test_places_that_cannot_be_written_are_named(tmp_path, users, scorer):
    (tmp_path / "folder.jsonl").mkdir()
    (tmp_path / "file").touch()

    with pytest.raises(BatchError, match=r"folder\.jsonl is a folder"):
        run(tmp_path / "folder.jsonl", users, scorer)
    with pytest.raises(BatchError, match=r"there is no folder .*nowhere; make it first"):
        run(tmp_path / "nowhere" / "out.jsonl", users, scorer)


def test_a_full_disk_is_told_and_what_is_complete_stays(tmp_path, users, scorer, monkeypatch):
    class FullDisk(Jsonl):
        def part(self, answers):
            if answers[0].user_id == LINES[8]:
                raise OSError(28, "No space left on device")
            return super().part(answers)

    output = tmp_path / "out.jsonl"
    batch = Batch(output, block_users=4)
    with pytest.raises(
        BatchError, match=r"cannot be written: No space left on device; what is complete stays"
    ):
        batch.run(scorer, users, FullDisk(), {})
    assert batch.progress().n_users == 8
    assert run(output, users, scorer, resume=True).n_resumed == 8


def test_row_groups_are_joined_from_many_parts(tmp_path):
    block = [Answer(str(number), "model", ["a"], [1.0]) for number in range(ROW_GROUP // 4 + 1)]
    parts = []
    for number in range(5):
        parts.append(tmp_path / f"part-{number}")
        parts[-1].write_bytes(Parquet().part(block))
    Parquet().join(parts, tmp_path / "joined.parquet")
    found = pq.ParquetFile(tmp_path / "joined.parquet").metadata

    assert [found.row_group(group).num_rows for group in range(found.num_row_groups)] == [
        4 * len(block),
        len(block),
    ]


@pytest.mark.parametrize(
    ("name", "chosen", "message"),
    [
        ("out", None, "ends in nothing; expected .jsonl or .parquet"),
        ("out.csv", None, "ends in .csv"),
        ("out.parquet", "personalize", "the format personalize does not go with the name out.parquet"),
        ("out.jsonl", "parquet", "the format parquet does not go with the name out.jsonl"),
        ("out.jsonl", "xml", "there is no format 'xml'"),
    ],
)
def test_a_format_nobody_can_guess_is_refused(tmp_path, name, chosen, message):
    with pytest.raises(ConfigError) as refused:
        format_of(tmp_path.relative_to(tmp_path) / name, chosen)
    assert message in str(refused.value)
