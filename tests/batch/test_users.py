"""Who a batch is for."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recae.batch.users import AllUsers, Asked, UsersFile, blocks
from recae.data.eventlog import Event, EventLog
from recae.data.eventlog.snapshot import Snapshot
from recae.data.idmap import IdMap
from recae.errors import DataError


def test_everybody_is_the_models_users_and_then_those_of_the_log_alone(home):
    with EventLog(f"sqlite:///{home / 'events.db'}", home / "events", clock=lambda: 9) as log:
        log.append([Event(user, "i", timestamp=1) for user in ("z", "b", "a")])
        users = AllUsers(IdMap(["c", "b"]), Snapshot(log))

        assert [asked.user_id for asked in users] == ["c", "b", "a", "z"]
        assert len(users) == 4


def test_without_a_log_or_names_it_is_whoever_is_left():
    assert [asked.user_id for asked in AllUsers(IdMap(["c", "b"]), None)] == ["c", "b"]
    assert list(AllUsers(None, None)) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("users.txt", "b\na\nb\n7\na\n7\n"),
        (
            "users.jsonl",
            '{"user_id": "b"}\n{"userId": "a"}\n{"user_id": "b"}\n{"user_id": "7"}\n{"user_id": 7}\n',
        ),
    ],
)
def test_a_user_who_is_named_twice_comes_once_at_the_first_place(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    users = UsersFile(tmp_path / name)

    assert list(users) == list(users) == [Asked("b"), Asked("a"), Asked("7")]
    assert len(users) == 3


def test_what_is_no_id_is_told_wherever_it_stands(tmp_path):
    (tmp_path / "users.jsonl").write_text('[1]\n[1]\n{"user_id": "[1]"}\n')
    first, second, good = UsersFile(tmp_path / "users.jsonl")

    assert first == second == Asked("[1]", "expected an object with user_id or userId")
    assert good == Asked("[1]")


def test_a_text_file_has_one_id_a_line(tmp_path):
    path = tmp_path / "users.txt"
    path.write_bytes(b"1\n\n  \nwith space \r\n1\n\xff\n" + b"x" * 257 + b"\nlast")
    users = UsersFile(path)

    assert [asked.user_id for asked in users if asked.problem is None] == ["1", "with space ", "last"]
    assert [asked.problem for asked in users if asked.problem] == [
        "the id is not UTF-8",
        "an id has 1 to 256 characters, not 257",
    ]
    assert len(users) == 5


def test_json_lines_may_be_ours_or_personalizes(tmp_path):
    path = tmp_path / "users.jsonl"
    lines = ['{"user_id": "1"}', '{"userId": "2"}', '{"userId": 3}', '{"userId": 1.5}', '{"user_id": null}']
    lines += [
        '{"userId": ""}',
        '{"user": "1"}',
        "[1]",
        "{",
        '{"userId": "\\ud800"}',
        '{"userId": "a\\u0000b"}',
        f'{{"userId": "\\ud800{"a" * 256}"}}',
    ]
    path.write_text("\n".join(lines))

    assert list(UsersFile(path)) == [
        Asked("1"),
        Asked("2"),
        Asked("3"),
        Asked("1.5", "an id is a string or an integer"),
        Asked("null", "an id is a string or an integer"),
        Asked("", "an id has 1 to 256 characters, not 0"),
        Asked('{"user": "1"}', "expected an object with user_id or userId"),
        Asked("[1]", "expected an object with user_id or userId"),
        Asked("{", "the line is no JSON"),
        Asked("?", "the id holds half a surrogate pair"),
        Asked("a\0b", "the id holds a zero byte"),
        Asked("?" + "a" * 256, "an id has 1 to 256 characters, not 257"),
    ]


@pytest.mark.parametrize("values", [["1", "2", None], [1, 2, None]])
def test_a_parquet_file_has_a_column_of_ids(tmp_path, values):
    pq.write_table(pa.table({"user_id": values, "more": [0, 0, 0]}), tmp_path / "users.parquet")
    first, second, nothing = UsersFile(tmp_path / "users.parquet")

    assert (first, second) == (Asked("1"), Asked("2"))
    assert nothing.problem == "an id is a string or an integer"


def test_a_parquet_file_may_hold_its_text_as_bytes(tmp_path):
    """As Spark and Hive write it."""
    pq.write_table(pa.table({"user_id": ["ü".encode(), b"7", b"\xff"]}), tmp_path / "users.parquet")

    assert list(UsersFile(tmp_path / "users.parquet")) == [
        Asked("ü"),
        Asked("7"),
        Asked("\ufffd", "the id is not UTF-8"),
    ]


def test_files_that_cannot_be_users_are_refused_by_name(tmp_path):
    pq.write_table(pa.table({"id": ["1"]}), tmp_path / "other.parquet")
    (tmp_path / "no.parquet").write_text("1\n2\n")

    with pytest.raises(DataError, match=r"no file of users at .*nowhere"):
        UsersFile(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"has the columns \['id'\]; expected user_id"):
        UsersFile(tmp_path / "other.parquet")
    with pytest.raises(DataError, match=r"no\.parquet cannot be read"):
        UsersFile(tmp_path / "no.parquet")


def test_the_identity_of_a_file_is_what_it_holds(tmp_path):
    for name, text in (("a", "1\n"), ("b", "1\n"), ("c", "2\n")):
        (tmp_path / name).write_text(text)
    a, b, c = (UsersFile(tmp_path / name).identity for name in "abc")

    assert a == b != c


@pytest.mark.parametrize(
    ("skip", "expected"), [(0, ["abc", "def", "g"]), (1, ["def", "g"]), (2, ["g"]), (3, [])]
)
def test_blocks_begin_after_those_that_are_skipped(skip, expected):
    users = [Asked(letter) for letter in "abcdefg"]

    assert ["".join(asked.user_id for asked in block) for block in blocks(users, 3, skip)] == expected
