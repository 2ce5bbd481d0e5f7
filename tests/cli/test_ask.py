"""`recae recommend` and `similar`, for people and for programs; and how errors are told."""

import json
import re

import pytest
from click.testing import CliRunner

from recae.artifacts import WEIGHTS, ModelStore
from recae.cli import cli
from recae.data.eventlog.items import StoredItem, StoredItems
from tests.cli.conftest import one_line, run
from tests.tastes import CATALOGUE, ITEMS, USERS, fitted_ease


def test_recommend_shows_titles_for_a_user(version):
    shown = run("recommend", "1", "-n", "2")

    assert "Contact (1997)" in shown
    assert "for user 1 (model, " in shown


def test_recommend_for_programs_is_json_with_every_field(version):
    answer = json.loads(run("recommend", "1", "-n", "1", "--json"))

    assert answer.pop("items")[0] | {"score": 0} == {
        "item_id": "c",
        "title": "Contact (1997)",
        "rank": 1,
        "score": 0,
        "explanation": [],
    }
    assert answer == {
        "model_version": version,
        "user_id": "1",
        "short": None,
        "strategy": "model",
        "unknown_items": [],
        "next_offset": 1,
    }


def test_items_may_be_named_by_id_and_by_title_in_any_case(version):
    by_id = json.loads(run("recommend", "--items", "a", "--items", "b", "--json"))
    by_title = json.loads(run("recommend", "--items", "alien (1979)", "--items", "Brazil", "--json"))

    assert by_id["strategy"] == "fold_in"
    assert by_id["items"] == by_title["items"]


def test_events_of_a_user_count_as_they_are_now(version, log):
    log.append([{"user_id": "new", "item_id": "y"}, {"user_id": "new", "item_id": "z"}])

    answer = json.loads(run("recommend", "new", "--json"))

    assert answer["strategy"] == "fold_in"
    assert answer["items"] == json.loads(run("recommend", "--items", "y", "--items", "z", "--json"))["items"]


def test_a_user_whose_events_were_deleted_is_nobody_known(version, log):
    log.delete_user("1")

    assert json.loads(run("recommend", "1", "--json"))["strategy"] == "fallback"


@pytest.mark.parametrize("asked", [("recommend", "1"), ("similar", "b")], ids=" ".join)
def test_stored_items_count_as_they_are_now(version, log, asked):
    items = StoredItems(log.database)
    before = json.loads(run(*asked, "-n", "5", "--json"))["items"]
    hidden, removed, renamed = (item["item_id"] for item in before[:3])

    items.put([StoredItem(hidden, hidden=True), StoredItem(renamed, title="Another title")])
    items.remove(removed)

    after = {item["item_id"]: item["title"] for item in json.loads(run(*asked, "-n", "5", "--json"))["items"]}
    assert after.keys() == {item["item_id"] for item in before} - {hidden, removed}
    assert after[renamed] == "Another title"


def test_recommend_takes_categories_and_seen_items(version):
    answer = json.loads(run("recommend", "1", "--category", "horror", "--include-seen", "--json"))

    assert [item["item_id"] for item in answer["items"]] == ["a"]
    assert "short: 1 item is left" in run("recommend", "1", "--category", "horror", "--include-seen")


def test_recommend_shows_what_speaks_for_each_item(version):
    shown = run("recommend", "--items", "a", "--items", "x", "--explain", "3")
    answer = json.loads(run("recommend", "1", "-n", "1", "--explain", "1", "--json"))

    assert "because of" in shown
    assert re.search(r"Contact \(1997\).*Alien \(1979\) \+0\.\d{4}", shown)
    assert "because of" not in run("recommend", "1"), "no column without a reason"
    (reason,) = answer["items"][0]["explanation"]
    assert reason["title"] in {"Alien (1979)", "Brazil (1985)"}
    assert 0 < reason["contribution"] < answer["items"][0]["score"]


def test_recommend_takes_a_diversity(version):
    def ids(*options):
        answer = json.loads(run("recommend", "--items", "b", *options, "--json"))
        return [item["item_id"] for item in answer["items"]]

    assert ids("--diversity", "0") == ids()
    assert sorted(ids("--diversity", "1")) == sorted(ids())
    assert ids("--diversity", "1")[0] == ids()[0]
    assert ids("--diversity", "1") != ids()
    assert "1.5 is not in the range 0.0<=x<=1.0" in run("recommend", "1", "--diversity", "1.5", code=2)


def test_recommend_shows_unavailable_items_only_if_asked_to(store):
    sold_out = type(CATALOGUE)(item._replace(available=item.item_id != "c") for item in CATALOGUE)
    store.promote(store.save(fitted_ease(), ITEMS, users=USERS, catalogue=sold_out))

    assert "Contact (1997)" not in run("recommend", "1")
    assert "Contact (1997)" in run("recommend", "1", "--include-unavailable")


def test_an_ambiguous_title_is_answered_with_the_choices(version):
    message = one_line(run("recommend", "--items", "Hamlet", code=1))

    assert "the title of 2 items" in message
    assert "x (Hamlet (1948)), y (Hamlet (1990))" in message


def test_an_unknown_title_is_answered_with_what_is_like_it(version):
    assert "did you mean 'Brazil (1985)'" in one_line(run("recommend", "--items", "Brasil", code=1))


def test_recommend_for_nobody_is_wrong_usage(version):
    assert "name a user, or items with --items" in run("recommend", code=2)


def test_similar_by_title(version):
    answer = json.loads(run("similar", "Alien", "-n", "2", "--json"))

    assert answer["item_id"] == "a"
    assert {item["item_id"] for item in answer["items"]} == {"b", "c"}
    assert "similar to Alien (1979)" in run("similar", "a")


def test_square_brackets_in_a_title_are_shown_as_they_are(store):
    item = CATALOGUE.item("c")._replace(title="[bold]Contact[/nonsense]")
    catalogue = type(CATALOGUE)([item, *(CATALOGUE.item(id_) for id_ in "abxyz")])
    store.promote(store.save(fitted_ease(), ITEMS, users=USERS, catalogue=catalogue))

    assert "[bold]Contact[/nonsense]" in run("recommend", "1")


def test_without_a_model_the_error_says_what_to_do():
    assert "run `recae train`" in one_line(run("recommend", "1", code=1))


def test_a_damaged_model_is_one_line(store, version):
    (store.root / version / WEIGHTS).write_bytes(b"")

    assert f"{WEIGHTS} is not what was saved" in one_line(run("recommend", "1", code=1))


def test_debug_shows_the_whole_traceback():
    done = CliRunner().invoke(cli, ["--debug", "recommend", "1"])

    assert type(done.exception).__name__ == "ArtifactError"


def test_a_bad_setting_is_one_line(monkeypatch):
    monkeypatch.setenv("RECAE_PROT", "1")

    assert "did you mean RECAE_PORT" in one_line(run("models", "list", code=1))


def test_ctrl_c_ends_with_130(monkeypatch, version):
    def interrupted(*_arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(ModelStore, "load", interrupted)

    assert run("recommend", "1", code=130) == "stopped\n"


def test_an_unknown_command_or_option_is_wrong_usage():
    assert "No such command" in run("recomend", code=2)
    assert "No such option" in run("similar", "--m", code=2)
