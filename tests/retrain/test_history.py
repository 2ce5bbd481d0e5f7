"""What earlier runs say is usual."""

from datetime import UTC, datetime

import pytest

from recae.retrain.history import History
from recae.runs import Run, Step, Verdict

METRIC = "ndcg@20"


def run(n, *, status="promoted", per_day=100.0, unknown=0.0, unreadable=0.0, live=0.5, overruled=(), **data):
    """The run of day ``n``, which overruled some rules."""
    started = datetime(2026, 1, n, tzinfo=UTC)
    rules = {"volume", "unknown_ids", "quarantined", "usual"}
    gate = [
        Verdict(
            rule=rule,
            passed=rule not in overruled,
            message="",
            figures={"share": unreadable},
            forced=rule in overruled,
        )
        for rule in rules
    ]
    return Run.new(
        started,
        status=status,
        gate=gate,
        values={"live": {METRIC: live}},
        drift={"events_per_day": per_day, "unknown_share": unknown},
        steps=[Step(name="data", started=started, figures=data)],
    )


def past(*runs):
    """Given oldest first."""
    return History(tuple(reversed(runs))).past(METRIC)


def test_the_last_seven_promoted_runs_say_what_is_usual():
    found = past(
        *(run(n, per_day=float(n), status="refused" if n == 9 else "promoted") for n in range(1, 11))
    )

    assert found.events_per_day == [10, 8, 7, 6, 5, 4, 3]


@pytest.mark.parametrize(
    ("rule", "field"),
    [
        ("volume", "events_per_day"),
        ("unknown_ids", "unknown_shares"),
        ("quarantined", "quarantined_shares"),
        ("usual", "live_values"),
    ],
)
def test_a_forced_promotion_begins_anew_what_is_usual_to_the_rules_that_it_overruled(rule, field):
    before = [run(n) for n in range(1, 6)]
    changed = {"per_day": 900.0, "unknown": 0.6, "unreadable": 0.04, "live": 0.1}

    found = past(*before, run(6, overruled=[rule], **changed), run(7, **changed))

    lengths = {name: len(getattr(found, name)) for name in vars(found)}
    assert lengths == dict.fromkeys(lengths, 7) | {field: 2}


def test_of_several_forced_promotions_the_last_counts():
    found = past(
        run(1), run(2, per_day=900.0, overruled=["volume"]), run(3, per_day=100.0, overruled=["volume"])
    )

    assert found.events_per_day == [100]


def test_a_forced_run_that_was_refused_nonetheless_begins_nothing_anew():
    found = past(run(1), run(2, status="refused", per_day=900.0, overruled=["volume"]))

    assert found.events_per_day == [100]


def test_the_value_of_a_live_model_that_knew_the_answers_says_nothing():
    assert past(run(1), run(2, live=0.9, known_asked=True)).live_values == [0.5]
    assert past(run(1), run(2, live=0.9, known_asked=True, overruled=["usual"])).live_values == []
