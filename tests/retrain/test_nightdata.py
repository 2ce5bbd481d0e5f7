"""The cut: what is learned from, what is asked, and that no model has seen an answer."""

import numpy as np
import pytest

from recae.data.eventlog import Event, EventLog
from recae.errors import DataError
from recae.retrain.nightdata import cut_night
from recae.retrain.reading import read_log
from recae.retrain_settings import RetrainSettings

DAY = 86_400


@pytest.fixture
def log(tmp_path):
    with EventLog(f"sqlite:///{tmp_path / 'events.db'}", tmp_path / "archive") as opened:
        yield opened


def event(user, item, day, **fields):
    return Event(user, item, timestamp=day * DAY, **fields)


def read(log, live_until=None, **settings):
    how = RetrainSettings(**{"gate": {"min_users": 1}} | settings)
    return cut_night(read_log(log, log.watermark(), how), how, live_until=live_until)


def asked(data):
    """(user, item) of every target."""
    targets = data.holdout.targets.tocoo()
    return {
        (data.holdout.users[int(row)], data.train.items[int(column)])
        for row, column in zip(targets.row, targets.col, strict=True)
    }


def ten_days(log):
    log.append([event(f"u{n % 3}", f"i{n}", n) for n in range(9)] + [event("u0", "i1", 9)])


def test_the_newest_share_is_asked_for_and_the_rest_learned(log):
    ten_days(log)

    data = read(log, holdout_share=0.1)

    assert data.cut == 8 * DAY
    assert len(data.train) == 8
    assert len(data.everything) == 10
    assert asked(data) == {("u0", "i1")}  # i8 is an item nobody had
    assert (data.n_new, data.n_new_of_unknown_items, data.n_new_items) == (2, 1, 1)


def test_nothing_the_live_model_has_learned_from_is_asked(log):
    ten_days(log)

    assert read(log, live_until=8 * DAY, holdout_share=0.5).cut == 8 * DAY + 1
    assert read(log, live_until=9 * DAY).n_new == 0


def test_a_late_event_is_learned_from_and_never_asked(log):
    ten_days(log)
    log.append([event("u1", "i0", 2)])  # arrives last, happened first

    data = read(log, live_until=8 * DAY)

    assert asked(data) == {("u0", "i1")}
    assert data.train.matrix[data.train.users.position("u1"), data.train.items.position("i0")] == 1.0


def test_what_a_user_has_is_not_asked_again(log):
    log.append(
        [
            event("u0", "a", 0),
            event("u0", "b", 1),
            event("u1", "a", 1),
            event("u1", "b", 9),
            event("u0", "b", 9),
        ]
    )

    assert asked(read(log, live_until=5 * DAY)) == {("u1", "b")}


def test_what_is_appended_after_the_watermark_does_not_count(log):
    ten_days(log)
    watermark = log.watermark()
    log.append([event("u0", "late", 20)])

    data = cut_night(read_log(log, watermark, RetrainSettings()), RetrainSettings())

    assert data.newest == 9 * DAY
    assert "late" not in data.everything.items


def test_weights_by_type_leave_out_and_decide_what_is_liked(log):
    log.append(
        [
            event("u0", "seen", 0, event_type="view"),
            event("u0", "seen", 1, event_type="view"),
            event("u0", "glimpsed", 1, event_type="view"),
            event("u0", "bought", 1, event_type="buy"),
            event("u0", "spam", 1, event_type="bot"),
            event("u1", "bought", 9, event_type="buy"),
        ]
    )

    data = read(log, event_weights={"view": 1, "buy": 3, "bot": 0}, duplicates="sum", min_value=2)

    assert set(data.everything.items) == {"bought", "seen"}  # two views make a liking
    assert data.train.matrix.data.tolist() == [2.0, 3.0]


def test_a_type_without_a_weight_is_refused_by_name(log):
    log.append([event("u0", "a", 0, event_type="like")])

    with pytest.raises(DataError, match="no weight for events of type 'like'"):
        read(log, event_weights={"view": 1})


def test_events_fade_by_half_in_a_half_life(log):
    log.append([event("u0", "a", 0), event("u0", "b", 10), event("u1", "b", 10), event("u1", "c", 20)])

    data = read(log, half_life_days=10, holdout_share=0.3)

    row = data.everything.users.position("u0")
    assert data.everything.matrix[[row]].toarray().ravel().tolist() == [0.25, 0.5, 0.0]


def test_a_window_forgets_what_is_older(log):
    ten_days(log)

    assert read(log, window_days=3).n_events == 3


def test_the_candidate_learns_from_a_whole_window_before_the_cut(log):
    log.append([event("u", f"i{n:02}", n) for n in range(20)])

    data = read(log, live_until=15 * DAY, window_days=5, holdout_share=0.9)

    assert data.cut == 15 * DAY + 1
    assert sorted(data.train.items) == ["i11", "i12", "i13", "i14", "i15"]
    assert sorted(data.everything.items) == ["i15", "i16", "i17", "i18", "i19"]
    assert (data.n_events, data.n_new) == (
        5,
        4,
    )  # the last five days count, and a tenth of them is a tenth of these


def test_what_the_live_model_had_in_its_window_is_known(log):
    log.append([event("u0", "old", 0), event("u1", "a", 3), event("u0", "a", 4), event("u1", "old", 5)])

    data = read(log, live_until=4 * DAY, window_days=5)

    assert asked(data) == {("u1", "old")}  # u0 took it within five days before the cut
    assert (data.n_new_of_unknown_items, data.n_new_users) == (0, 0)


def test_no_event_within_the_window_is_a_clear_error(log):
    ten_days(log)
    log.append([event("u0", "i0", 300, event_type="ping")])  # the newest event, which does not count
    how = {"event_weights": {"ping": 0}, "other_weight": 1}

    with pytest.raises(DataError, match=r"no event that counts lies within window_days = 3 of the newest"):
        read(log, window_days=3, **how)


def a_user_a_day(log):
    """On a hundred days each of fifty users comes twice, and the second time takes something new."""
    log.append([event(f"u{day % 50}", item, day) for day in range(100) for item in ("all", f"i{day // 50}")])
    log.append([event("u0", "i1", 0)])


def test_where_too_few_could_be_judged_the_cut_moves_back_until_there_are_enough(log):
    a_user_a_day(log)

    few, enough = (read(log, gate={"min_users": n}) for n in (5, 20))

    assert len(few.holdout.users) < 20  # as many as a tenth of the log holds
    assert len(enough.holdout.users) >= 20
    assert enough.cut < few.cut


def test_a_first_night_holds_out_no_more_than_half_of_the_log(log):
    a_user_a_day(log)

    assert (
        80 < read(log, gate={"min_users": 1_000}).n_new <= 102
    )  # of 200, and the other event of the cut's day
    assert read(log, gate={"min_users": 1_000}, holdout_share=0.6).n_new > 102  # if that is wanted


def test_the_cut_never_moves_back_past_what_the_live_model_has_learned_from(log):
    a_user_a_day(log)

    data = read(log, live_until=85 * DAY, gate={"min_users": 20}, holdout_share=0.01)

    assert data.cut == 85 * DAY + 1
    assert len(data.holdout.users) == 14


def test_where_times_say_nothing_more_is_drawn_until_enough_can_be_judged(log):
    log.append([event(f"u{n:02}", f"i{place}", 1) for n in range(20) for place in range(5)])

    assert read(log, holdout_share=0.02, gate={"min_users": 1}).n_new == 2
    data = read(log, holdout_share=0.02, gate={"min_users": 10})
    assert len(data.holdout.users) >= 10
    assert len(data.train) == 100 - data.n_new


def test_no_events_and_no_past_are_clear_errors(log):
    with pytest.raises(DataError, match="holds no events"):
        read(log)
    log.append([event("u0", "a", 0)])
    with pytest.raises(DataError, match="no events lie before"):
        read(log)


def test_where_times_say_nothing_what_is_asked_is_drawn_by_lot(log):
    # as of a file without times, whose rows are sorted by user: the last of them would be users that nobody knows
    log.append([event(f"u{n:02}", f"i{place}", 1) for n in range(20) for place in range(5)])

    data, again = read(log, holdout_share=0.1, seed=3), read(log, holdout_share=0.1, seed=3)

    assert data.is_drawn
    assert (data.n_new, len(data.train)) == (10, 90)
    assert len({user for user, _ in asked(data)}) > 3
    assert asked(data) == asked(again)
    assert data.events_per_day is None  # the next night's count has nothing to be compared with


def test_days_whose_events_share_one_stamp_count_as_whole_days(log):
    log.append([event(f"u{n}", f"i{day % 3}", day) for day in range(10) for n in range(40)])

    first, second = read(log, holdout_share=0.09), read(log, live_until=8 * DAY)

    assert (first.n_new, first.days_new, first.events_per_day) == (40, 1.0, 40.0)
    assert (second.n_new, second.days_new, second.events_per_day) == (40, 1.0, 40.0)
    assert read(log, live_until=7 * DAY, holdout_share=0.5).events_per_day == 40.0  # two of them


def test_new_events_that_follow_the_live_model_at_once_count_as_of_an_hour(log):
    ten_days(log)
    log.append([Event("u0", "i2", timestamp=9 * DAY + 60)])

    assert read(log, live_until=9 * DAY).days_new == 1 / 24


def test_the_time_since_an_event_that_does_not_count_is_none_of_the_new_days(log):
    log.append([event("u0", "i0", 0, event_type="buy"), event("u1", "i1", 0, event_type="buy")])
    log.append([event("u0", "i0", 8, event_type="view"), event("u1", "i0", 9, event_type="buy")])
    buys = {"event_weights": {"buy": 1, "view": 0}}

    assert read(log, live_until=8 * DAY, **buys).events_per_day == 1.0


def test_events_of_a_day_are_parted_by_time(log):
    log.append([Event(f"u{n % 3}", f"i{n}", timestamp=n * 3_600) for n in range(24)])

    assert not read(log).is_drawn
    assert not read(log, live_until=22 * 3_600).is_drawn


def test_a_few_events_of_types_without_a_weight_are_left_out_and_counted(log):
    log.append([event(f"u{n}", "a", n, event_type="view") for n in range(99)])
    log.append([event("u0", "b", 100, event_type="veiw")])

    reading = read_log(log, log.watermark(), RetrainSettings(event_weights={"view": 1}))

    assert reading.unnamed == {"veiw": 1}
    assert len(reading.times) == 99
    assert reading.n_read == 100


def test_types_that_all_of_the_new_events_have_are_refused_in_a_long_log_too(log):
    log.append([event(f"u{n}", "a", n, event_type="view") for n in range(999)])
    known_until = log.watermark()
    log.append([event(f"u{n}", "b", 1_000, event_type="click") for n in range(10)])
    weights = RetrainSettings(event_weights={"view": 1})

    with pytest.raises(DataError, match="type 'click', 10 of 1,009, 10 of them among 10 new ones"):
        read_log(log, log.watermark(), weights, known_until=known_until)
    assert read_log(log, log.watermark(), weights).unnamed == {"click": 10}


def test_an_event_in_the_future_is_learned_once_and_never_asked_again(log):
    ten_days(log)
    log.append([event("u2", "i0", 400)])  # accepted while the clock was ahead
    known_until = log.watermark()
    log.append([event("u1", "i0", 10)])

    reading = read_log(log, log.watermark(), RetrainSettings(), known_until=known_until, now=11 * DAY)

    assert (reading.newest, reading.newest_known) == (10 * DAY, 9 * DAY)
    assert asked(cut_night(reading, RetrainSettings(), live_until=9 * DAY)) == {("u1", "i0")}


def test_many_users_are_drawn_from_by_the_seed(log):
    log.append([event(f"u{n}", item, day) for n in range(50) for day, item in ((0, "a"), (1, f"x{n % 5}"))])
    log.append([event(f"u{n}", f"x{(n + 1) % 5}", 9) for n in range(50)])

    first, again, other = (
        read(log, live_until=5 * DAY, max_holdout_users=10, seed=seed).holdout.users.ids for seed in (1, 1, 2)
    )

    assert len(first) == 10
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_dislikes_are_neither_learned_nor_asked_for_as_likings(log):
    ten_days(log)
    log.append([event("u1", "i0", 3, value=-1.0), event("u2", "i0", 9, value=-1.0), event("u0", "i2", 9)])

    data = read(log, holdout_share=0.1)

    assert data.everything.matrix.data.min() > 0
    assert asked(data) == {("u0", "i1"), ("u0", "i2")}
    ratings = read(log, holdout_share=0.1, model="rating_means")
    assert ratings.train.matrix.data.min() == -1
    assert ("u2", "i0") in asked(ratings)
