"""A stranger has the description alone, makes a client of it with somebody else's generator, and gets along.

Everything here goes through the generated code, against `recae serve` in a process of its own.
"""

import importlib
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from recae.artifacts import ModelStore
from tests.servers import free_port, running
from tests.tastes import CATALOGUE, ITEMS, USERS, fitted_ease

OPENAPI = Path(__file__).parents[2] / "api" / "openapi.json"
PACKAGE = "recae_of_strangers"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder of the generated package, importable; and what its maker said."""
    folder = tmp_path_factory.mktemp("generated")
    maker = Path(sys.executable).parent / "openapi-python-client"
    command = [maker, "generate", "--path", OPENAPI, "--output-path", folder / PACKAGE, "--meta", "none"]
    config = folder / "config.yml"
    config.write_text("post_hooks: []\n")  # its formatter need not be on the path
    done = subprocess.run([*command, "--config", config], capture_output=True, text=True, check=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        importlib.invalidate_caches()
        yield folder / PACKAGE, done.stdout + done.stderr
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def client(made, tmp_path_factory):
    home = tmp_path_factory.mktemp("served")
    store = ModelStore(home / "models")
    store.promote(store.save(fitted_ease(), ITEMS, users=USERS, catalogue=CATALOGUE))
    port = free_port()
    serving = running([sys.executable, "-m", "recae", "serve"], home, port)
    with serving, import_module(PACKAGE).Client(base_url=f"http://127.0.0.1:{port}") as generated:
        yield generated


@pytest.fixture
def models(made):
    return import_module(f"{PACKAGE}.models")


def call(name, *arguments, **more):
    """An operation of the generated package, by its tag and name."""
    return import_module(f"{PACKAGE}.api.{name}").sync(*arguments, **more)


def test_the_generator_has_nothing_to_complain_of(made):
    folder, said = made

    assert "warning" not in said.lower()
    names = {path.stem for path in (folder / "models").glob("*.py")}
    assert {"event", "event_list", "top_n_request", "history_item", "recommendation_list"} <= names
    assert not [name for name in names if name.endswith("type_0") and name != "item_change_extra_type_0"]


def test_recommendations_with_explanations_for_a_user_and_for_a_history(client, models):
    of_user = call("recommend.recommend_for_user", "1", client=client, n=1, explain=1)
    body = models.TopNRequest(items=["x", models.HistoryItem(item_id="nobody's", weight=2.0)], n=2)
    of_history = call("recommend.recommend_for_history", client=client, body=body)

    assert isinstance(of_user, models.RecommendationList)
    assert [(item.item_id, item.title) for item in of_user.items] == [("c", "Contact (1997)")]
    assert {reason.item_id for reason in of_user.items[0].explanation} <= {"a", "b"}
    assert (of_history.strategy, of_history.unknown_items) == ("fold_in", ["nobody's"])
    assert {item.item_id for item in of_history.items} == {"y", "z"}


def test_feedback_counts_in_the_next_answer(client, models):
    before = call("recommend.recommend_for_user", "new", client=client, n=1)
    event = models.Event(user_id="new", item_id="x", recommendation_id=before.recommendation_id)
    sent = models.EventList(events=[event, models.Event(user_id="new", item_id="")])
    stored = call("events.send_events", client=client, body=sent)
    after = call("recommend.recommend_for_user", "new", client=client, n=2)
    kept = call("events.user_events", "new", client=client)
    gone = call("events.delete_user", "new", client=client)

    assert before.strategy == "fallback"
    assert (stored.accepted, [part.index for part in stored.rejected]) == (1, [1])
    assert (after.strategy, {item.item_id for item in after.items}) == ("fold_in", {"y", "z"})
    assert [(one.item_id, one.recommendation_id) for one in kept.events] == [("x", before.recommendation_id)]
    assert gone.deleted_events == 1


def test_events_may_be_a_list_without_an_object_around_it(client, models):
    events = [models.Event(user_id="bare", item_id="x"), models.Event(user_id="bare", item_id=7)]
    stored = call("events.send_events", client=client, body=events)
    kept = call("events.user_events", "bare", client=client)
    nothing = call("events.send_events", client=client, body=[])

    assert (stored.accepted, stored.rejected) == (2, [])
    assert {event.item_id for event in kept.events} == {"x", "7"}
    assert (nothing.error.code, nothing.error.field) == ("invalid_field", "events")


def test_a_batchs_own_number_holds_for_requests_that_name_none(client, models):
    """Clients send a default that the description gives a field, whether their caller named it or not."""
    requests = [
        models.TopNRequest(user_id="1"),
        models.TopNRequest(items=["x"], n=1),
        models.TopNRequest(n=0),
    ]
    answer = call(
        "recommend.recommend_batch", client=client, body=models.BatchRequest(requests=requests, n=2)
    )

    assert [part.status for part in answer.results] == [200, 200, 422]
    assert [len(part.body.items) for part in answer.results[:2]] == [2, 1]
    assert answer.results[2].error.code == "invalid_field"


def test_lists_items_and_errors_are_typed(client, models):
    ranked = call(
        "recommend.rank", client=client, body=models.RankRequest(user_id="1", candidates=["x", "c", "?"])
    )
    similar = call("items.similar_items", "a", client=client, n=2)
    stored = call("items.put_item", "a/b", client=client, body=models.ItemBody(title="Slash"))
    changed = call("items.patch_item", "a/b", client=client, body=models.ItemChange(year=2001))
    stranger = call("recommend.recommend_for_user", "nobody", client=client, strict=True)
    wrong = call("recommend.recommend_for_user", "1", client=client, n=0)

    assert ([item.item_id for item in ranked.items], ranked.unknown_items) == (["c", "x"], ["?"])
    assert {item.item_id for item in similar.items} == {"b", "c"}
    assert (stored.item_id, changed.title, changed.year) == ("a/b", "Slash", 2001)
    assert isinstance(stranger, models.ErrorBody)
    assert (stranger.error.code, wrong.error.code, wrong.error.field) == (
        "unknown_user",
        "invalid_field",
        "n",
    )
    assert call("operations.ready", client=client).status == "ready"
