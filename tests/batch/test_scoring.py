"""A block's answers are those of one request each."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from recae.batch import Filters, Scorer
from recae.batch.users import Asked
from recae.data.catalogue import Catalogue
from recae.data.eventlog import Event, EventLog
from recae.data.eventlog.snapshot import Snapshot
from recae.data.idmap import IdMap
from recae.models import create
from recae.recommender import Recommender
from tests.tastes import CATALOGUE, ITEMS, LIKES, USERS, two_tastes

EVERYBODY = [Asked(user) for user in (*USERS, "stranger")]
FILTERS = [
    Filters(n=2),
    Filters(n=6),
    Filters(n=3, categories=("drama",)),
    Filters(n=6, exclude_seen=False),
    Filters(n=4, available_only=False),
    Filters(n=4, categories=("no such",)),
]


@pytest.fixture
def log(home):
    with EventLog(f"sqlite:///{home / 'events.db'}", home / "events", clock=lambda: 1_000) as opened:
        yield opened


def with_an_unavailable_and_a_hidden_item():
    changed = {"c": {"available": False}, "y": {"hidden": True}}
    catalogue = Catalogue(item._replace(**changed.get(item.item_id, {})) for item in CATALOGUE)
    plain = two_tastes()
    return Recommender(plain.model, ITEMS, users=USERS, catalogue=catalogue)


def as_pairs(found):
    return [(item.item_id, item.score) for item in found.items]


@pytest.mark.parametrize("filters", FILTERS, ids=str)
@pytest.mark.parametrize("make", [two_tastes, with_an_unavailable_and_a_hidden_item])
def test_users_of_the_training_log_get_what_one_request_each_would_give(make, filters):
    recommender = make()
    answers = Scorer(recommender, filters).answers(EVERYBODY)

    assert [answer.user_id for answer in answers] == [asked.user_id for asked in EVERYBODY]
    for answer in answers:
        one = recommender.recommend(
            user_id=answer.user_id,
            n=filters.n,
            categories=filters.categories,
            exclude_seen=filters.exclude_seen,
            available_only=filters.available_only,
        )
        assert (answer.strategy, answer.short) == (one.strategy, one.short)
        assert list(answer.item_ids) == [item_id for item_id, _ in as_pairs(one)]
        assert list(answer.scores) == pytest.approx([score for _, score in as_pairs(one)])


def test_fewer_items_than_asked_for_come_with_the_reason():
    known, stranger, bad = Scorer(two_tastes(), Filters(n=100)).answers(
        [Asked("1"), Asked("stranger"), Asked("", "no id")]
    )
    (enough,) = Scorer(two_tastes(), Filters(n=4)).answers([Asked("1")])

    left = "items are left after what was seen, excluded or filtered out"
    assert (len(known.item_ids), known.short) == (4, f"4 {left}")
    assert (len(stranger.item_ids), stranger.short) == (6, f"6 {left}")
    assert bad.short is None, "there is an error"
    assert (len(enough.item_ids), enough.short) == (4, None)


def test_a_stranger_gets_the_popular_items():
    (answer,) = Scorer(two_tastes(), Filters(n=2)).answers([Asked("stranger")])

    assert (answer.strategy, answer.item_ids[0], answer.error) == ("fallback", "a", None)


def test_what_the_log_says_is_added_to_the_training_row(log):
    log.append([Event("1", item, timestamp=1) for item in "xyc"])
    log.append([Event("new", "a", timestamp=1), Event("new", "b", timestamp=2)])
    recommender = two_tastes()
    changed, new, trained = Scorer(recommender, Filters(n=1), Snapshot(log)).answers(
        [Asked("1"), Asked("new"), Asked("2")]
    )

    one = recommender.recommend(["x", "y", "c"], 1, user_id="1")
    assert (changed.strategy, changed.item_ids) == ("fold_in", ["z"])
    assert list(changed.scores) == pytest.approx([one.items[0].score])
    assert (new.strategy, new.item_ids) == ("fold_in", ["c"])
    assert (trained.strategy, trained.item_ids) == ("model", ["a"])


def test_the_training_row_of_a_user_who_was_deleted_does_not_count(log):
    log.delete_user("1")
    log.delete_user("2")
    log.append([Event("2", "x", timestamp=1)])
    forgotten, back, other = Scorer(two_tastes(), Filters(n=6, exclude_seen=False), Snapshot(log)).answers(
        [Asked("1"), Asked("2"), Asked("3")]
    )

    assert (forgotten.strategy, other.strategy) == ("fallback", "model")
    assert back.strategy == "fold_in"
    assert set(back.item_ids[:2]) < {"x", "y", "z"}, "nothing of the science fiction it was trained on"


@pytest.mark.parametrize("name", ["slist", "autorec"])
def test_models_that_go_by_order_or_rating_read_the_log_as_a_request_would(log, name):
    model = create(name, **({"epochs": 1} if name == "autorec" else {}))
    in_order = csr_array(
        (LIKES.indices + 1.0, LIKES.indices, LIKES.indptr), shape=LIKES.shape, dtype=np.float32
    )
    model.fit(in_order, show_progress=False)
    recommender = Recommender(model, ITEMS, users=USERS)
    log.append([Event("1", item, value=2.0, timestamp=time) for time, item in enumerate("zxz")])
    (answer,) = Scorer(recommender, Filters(n=2), Snapshot(log)).answers([Asked("1")])

    sent = {"x": 2.0, "z": 2.0} if model.feedback == "ratings" else ["x", "z"]
    one = recommender.recommend(sent, 2, user_id="1")
    assert as_pairs(one) == [
        (item, pytest.approx(score)) for item, score in zip(answer.item_ids, answer.scores, strict=True)
    ]


def test_what_was_met_and_not_liked_is_no_history_and_not_recommended(log):
    log.append([Event("new", "a", timestamp=1), Event("new", "b", value=0.0, timestamp=1)])
    log.append([Event("other", "a", value=-1.0, timestamp=1)])
    new, other = Scorer(two_tastes(), Filters(n=6), Snapshot(log)).answers([Asked("new"), Asked("other")])

    assert (new.strategy, set(new.item_ids)) == ("fold_in", {"c", "x", "y", "z"})
    assert (other.strategy, set(other.item_ids)) == ("fallback", {"b", "c", "x", "y", "z"})


def test_events_with_items_the_model_never_saw_are_no_history(log):
    log.append([Event("new", "unheard of", timestamp=1)])
    (answer,) = Scorer(two_tastes(), Filters(n=1), Snapshot(log)).answers([Asked("new")])

    assert (answer.strategy, answer.item_ids) == ("fallback", ["a"])


def test_only_the_newest_events_count(log):
    log.append([Event("new", item, timestamp=time) for time, item in enumerate("abxy")])
    (answer,) = Scorer(two_tastes(), Filters(n=1), Snapshot(log), max_history=2).answers([Asked("new")])

    assert answer.item_ids == ["z"]


def test_bad_ids_have_an_error_at_their_place():
    answers = Scorer(two_tastes(), Filters(n=1)).answers(
        [Asked("", "no id"), Asked("1"), Asked("?", "not UTF-8")]
    )

    assert [(answer.strategy, answer.error) for answer in answers] == [
        (None, "no id"),
        ("model", None),
        (None, "not UTF-8"),
    ]


def test_a_model_that_cannot_fold_in_goes_by_its_training_rows_without_what_the_log_has_seen(log):
    model = create("bpr", n_factors=2, epochs=2).fit(LIKES, show_progress=False)
    recommender = Recommender(model, ITEMS, users=USERS, catalogue=CATALOGUE)
    log.append([Event("new", "a", timestamp=1), Event("1", "x", timestamp=1)])
    new, trained = Scorer(recommender, Filters(n=6), Snapshot(log)).answers([Asked("new"), Asked("1")])

    assert (new.strategy, sorted(new.item_ids)) == ("fallback", ["b", "c", "x", "y", "z"])
    assert (trained.strategy, sorted(trained.item_ids)) == ("model", ["c", "y", "z"])


def test_a_model_without_names_of_its_users_knows_none():
    nameless = Recommender(two_tastes().model, ITEMS, catalogue=CATALOGUE)

    assert Scorer(nameless, Filters(n=1)).answers([Asked("1")])[0].strategy == "fallback"


def test_a_training_row_without_items_is_no_history():
    likes = csr_array(np.vstack([LIKES.toarray(), np.zeros((1, 6), dtype=np.float32)]))
    model = create("ease", l2=1.0).fit(likes, show_progress=False)
    recommender = Recommender(model, ITEMS, users=IdMap([*USERS, "empty"]))
    first, last = Scorer(recommender, Filters(n=1)).answers([Asked("empty"), Asked("1")])

    assert (first.strategy, last.strategy, last.item_ids) == ("fallback", "model", ["c"])
