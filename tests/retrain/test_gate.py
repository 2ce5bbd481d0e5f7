"""Each rule of the gate, on evidence whose verdict follows by hand."""

from datetime import UTC, datetime

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.sparse import csr_array

from recae.data.holdout import Holdout
from recae.data.interactions import Interactions
from recae.models import create
from recae.recommender import Recommender
from recae.retrain.contenders import Judged
from recae.retrain.gate import Evidence, Past, force, refit_verdict, refusals, verdicts
from recae.retrain.history import History
from recae.retrain.nightdata import NightData
from recae.retrain_settings import GateSettings
from recae.runs import RunTable
from tests.tastes import ITEMS, LIKES, USERS

DAY = 86_400
SETTINGS = GateSettings(min_users=4)


def night(*, n_new=100, days=1.0, unknown=0, is_drawn=False):
    interactions = Interactions(LIKES, USERS, ITEMS, np.zeros(LIKES.nnz, dtype=np.int64))
    holdout = Holdout(LIKES, csr_array(LIKES.shape, dtype=np.float32), USERS, LIKES)
    return NightData(
        everything=interactions,
        train=interactions,
        holdout=holdout,
        cut=0,
        since=0,
        newest=int(days * DAY),
        n_events=1_000,
        n_new=n_new,
        n_new_of_unknown_items=unknown,
        n_new_users=0,
        n_new_items=0,
        shares_before=np.ones(6) / 6,
        shares_new=np.ones(6) / 6,
        is_drawn=is_drawn,
    )


def judged(values, coverage=0.5):
    values = np.asarray(values, dtype=np.float64)
    return Judged(values, {"ndcg@20": float(values.mean()), "coverage@20": coverage})


def evidence(*, candidate=(0.5,) * 8, live=(0.5,) * 8, popularity=None, **changed):
    found = {"candidate": judged(candidate), "popularity": judged(popularity or (0.1,) * len(candidate))}
    if live is not None:
        found["live"] = judged(live)
    model = create("ease", l2=1.0).fit(LIKES, show_progress=False)
    fields = {
        "candidate": Recommender(model, ITEMS),
        "data": night(),
        "judged": found,
        "coverage": "coverage@20",
        "quarantined_share": None,
        "past": Past(),
    }
    return Evidence(**fields | changed)


def refused(found, settings=SETTINGS):
    return [verdict.rule for verdict in refusals(verdicts(found, settings))]


def test_an_equal_candidate_passes_every_rule():
    assert refused(evidence()) == []


def test_without_a_live_model_popularity_alone_is_to_be_beaten():
    assert refused(evidence(live=None)) == []
    assert refused(evidence(live=None, popularity=(0.5,) * 8)) == ["beats_popularity"]


def test_a_live_model_that_cannot_be_read_is_named_in_the_verdict():
    found = verdicts(evidence(live=None, live_problem="weights.safetensors is not what was saved"), SETTINGS)

    (verdict,) = [each for each in found if each.rule == "not_worse"]
    assert verdict.message == (
        "the model in service cannot be read, so nothing is compared with it: weights.safetensors is not what was saved"
    )
    assert "no model is in service" in verdicts(evidence(live=None), SETTINGS)[7].message


def test_events_whose_times_say_nothing_have_no_usual_number_a_day():
    found = evidence(data=night(n_new=1_000, is_drawn=True), past=Past((100.0,)))

    assert refused(found) == []


@pytest.mark.parametrize("name", ["volume_ratio", "coverage_ratio"])
@pytest.mark.parametrize("ratio", [(5, 0.2), (-1, 2), (float("nan"), 2)])
def test_bounds_come_lowest_first(name, ratio):
    with pytest.raises(ValidationError, match=r"expected the lowest|greater than 0"):
        GateSettings(**{name: ratio})


def test_a_candidate_that_loses_more_than_the_margin_is_refused_with_the_numbers():
    (verdict,) = refusals(verdicts(evidence(candidate=(0.45,) * 8), SETTINGS))

    assert verdict.rule == "not_worse"
    assert "reaches 0.4500, the live model 0.5000" in verdict.message
    assert verdict.figures["losses"] == 8
    assert verdict.figures["low"] == pytest.approx(-0.05)
    assert verdict.figures["lowest"] == pytest.approx(-0.01)


def test_a_loss_within_the_margin_passes():
    assert refused(evidence(candidate=(0.495,) * 8)) == []


def test_what_may_be_chance_is_not_taken_for_as_good():
    live = np.full(40, 0.5)
    either_way = np.tile([1.0, -1.0], 20)

    assert refused(evidence(candidate=tuple(live + 0.3 * either_way), live=live)) == ["not_worse"]
    assert refused(evidence(candidate=tuple(live + 0.001 * either_way), live=live)) == []


def test_the_interval_is_one_sided():
    live = np.full(400, 0.5)
    candidate = tuple(
        live + np.tile([0.1, -0.1], 200)
    )  # mean 0, standard error 0.005: its 5% quantile is -0.0082

    assert refused(evidence(candidate=candidate, live=live), GateSettings(margin=0.018)) == []
    assert refused(evidence(candidate=candidate, live=live), GateSettings(margin=0.014)) == ["not_worse"]


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        ({"data": night(n_new=1_000)}, "volume"),
        ({"data": night(n_new=10)}, "volume"),
        ({"data": night(unknown=60)}, "unknown_ids"),
        ({"quarantined_share": 0.06}, "quarantined"),
        ({"past": Past((100.0,), live_values=(1.2, 1.1, 0.2))}, "usual"),
    ],
    ids=[
        "ten times the events",
        "a tenth of the events",
        "unknown items",
        "unreadable rows",
        "the live model fails",
    ],
)
def test_a_day_that_does_not_look_sane_is_refused_by_name(changed, rule):
    past = Past((100.0, 110.0, 90.0), live_values=(0.5, 0.6, 0.4))

    assert refused(evidence(past=past)) == []
    assert refused(evidence(**{"past": past} | changed)) == [rule]


@pytest.mark.parametrize(
    ("changed", "rule"),
    [({"data": night(unknown=35)}, "unknown_ids"), ({"quarantined_share": 0.035}, "quarantined")],
    ids=["items", "rows"],
)
def test_a_share_far_above_the_usual_one_is_refused_below_the_highest_too(changed, rule):
    usual = Past(unknown_shares=(0.1, 0.12, 0.05), quarantined_shares=(0.01, 0.0, 0.02))

    assert refused(evidence(**changed)) == []
    assert refused(evidence(past=usual, **changed)) == [rule]


def test_too_few_users_are_no_evidence():
    (verdict,) = refusals(verdicts(evidence(candidate=(0.5,) * 3, live=(0.5,) * 3), SETTINGS))

    assert verdict.rule == "enough_users"
    assert "3 users have new events to judge on; at least 4 are needed" in verdict.message
    assert "retrain.gate.min_users" in verdict.message
    assert "retrain.holdout_share" in verdict.message


@pytest.mark.parametrize("coverage", [0.2, 0.9])
def test_coverage_stays_within_its_bounds(coverage):
    found = evidence()
    found.judged["candidate"] = judged((0.5,) * 8, coverage)

    assert refused(found, GateSettings(min_users=4, coverage_ratio=(0.5, 1.5))) == ["coverage"]


def test_weights_that_are_no_numbers_are_refused_and_cannot_be_forced():
    found = evidence()
    found.candidate.model.precision_[2, 3] = np.nan

    broken = verdicts(found, SETTINGS)

    assert "finite" in {verdict.rule for verdict in refusals(broken)}
    assert "finite" in {verdict.rule for verdict in refusals(force(broken))}
    assert "1 in precision_" in next(each.message for each in broken if each.rule == "finite")


def test_force_overrules_and_says_so():
    found = force(verdicts(evidence(candidate=(0.2,) * 8), SETTINGS))

    assert refusals(found) == []
    assert [verdict.rule for verdict in found if verdict.forced] == ["not_worse"]


def test_a_refitted_model_that_forgot_what_the_candidate_knew_is_refused():
    assert refit_verdict(judged((0.8,) * 4), judged((0.5,) * 4), SETTINGS).passed
    assert not refit_verdict(judged((0.48,) * 4), judged((0.5,) * 4), SETTINGS).passed


def test_only_promoted_runs_say_what_is_usual(tmp_path):
    table = RunTable(tmp_path / "runs")
    with table.claimed():
        for day, (status, per_day) in enumerate(
            [("promoted", 100.0), ("refused", 9.0), ("unchanged", 8.0)], 1
        ):
            run = table.begin(datetime(2026, 1, day, 3, tzinfo=UTC))
            run.status, run.drift = status, {"events_per_day": per_day}
            table.write(run)
        tonight = table.begin(datetime(2026, 1, 5, 3, tzinfo=UTC))
    history = History.of(table, tonight, datetime(2026, 1, 5, 3, tzinfo=UTC))

    assert history.past("ndcg@20").events_per_day == [100.0]
    assert history.counted_until == datetime(2026, 1, 3, 3, tzinfo=UTC).timestamp(), (
        "the others looked at rows"
    )
