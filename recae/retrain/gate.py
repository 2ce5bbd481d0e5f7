"""The gate: rules that a candidate must pass before it may take the live model's place.

Each rule gives a verdict with its numbers, whether it passes or not, so a report shows how near it was. ``finite`` and
``answers`` cannot be forced: what does not answer must never be served.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from recae.evaluation.statistics import bootstrap_interval
from recae.models.base import Model
from recae.recommender import Recommender
from recae.retrain.contenders import Judged
from recae.retrain.nightdata import NightData
from recae.retrain_settings import GateSettings
from recae.runs import Verdict

NEVER_FORCED = frozenset({"finite", "answers"})
SMOKE_HISTORIES = 50
SMOKE_N = 10


@dataclass(frozen=True)
class Past:
    """What the last runs that promoted a model found, newest first: what is usual. Refused ones say nothing of that."""

    events_per_day: Sequence[float] = ()
    unknown_shares: Sequence[float] = ()
    quarantined_shares: Sequence[float] = ()
    live_values: Sequence[float] = ()
    """Of the gate's metric, of the model that was live then."""


@dataclass(frozen=True)
class Evidence:
    """All that the gate looks at."""

    candidate: Recommender
    data: NightData
    judged: dict[str, Judged]
    """Contender -> what it reached; "candidate" and "popularity", and "live" if there is such a model."""
    coverage: str
    """Text of the coverage metric."""
    quarantined_share: float | None
    """Of the rows ingested since the last run that ended by itself; None if there were none."""
    past: Past
    live_problem: str = ""
    """Why the live model cannot be read, if there is one that cannot."""

    @property
    def no_live(self) -> str:
        """Why there is no live model to compare with."""
        if self.live_problem:
            return f"the model in service cannot be read, so nothing is compared with it: {self.live_problem}"
        return "no model is in service that could be better"


def verdicts(evidence: Evidence, settings: GateSettings, seed: int = 0) -> list[Verdict]:
    """What every rule says, in the order in which an operator would want to know it."""
    rules: Sequence[Callable[[Evidence, GateSettings, int], Verdict]] = (
        _finite,
        _answers,
        _volume,
        _unknown,
        _quarantined,
        _enough_users,
        _usual,
        _not_worse,
        _beats_popularity,
        _coverage,
    )
    return [rule(evidence, settings, seed) for rule in rules]


def refit_verdict(judged: Judged, candidate: Judged, settings: GateSettings) -> Verdict:
    """The refitted model has learned from the answers: one that finds fewer than the candidate is broken."""
    lowest = candidate.mean * (1 - settings.margin)
    return Verdict(
        rule="refit",
        passed=judged.mean >= lowest,
        message=f"refitted to everything it reaches {judged.mean:.4f} where the candidate, which had not seen the "
        f"answers, reached {candidate.mean:.4f}; at least {lowest:.4f} is expected",
        figures={"refitted": judged.mean, "candidate": candidate.mean, "lowest": lowest},
    )


def force(found: Iterable[Verdict]) -> list[Verdict]:
    """The verdicts with those overruled that may be."""
    return [
        verdict
        if verdict.passed or verdict.rule in NEVER_FORCED
        else verdict.model_copy(update={"forced": True})
        for verdict in found
    ]


def refusals(found: Iterable[Verdict]) -> list[Verdict]:
    """Those that keep the gate closed."""
    return [verdict for verdict in found if not verdict.passed and not verdict.forced]


def finite_verdict(model: Model) -> Verdict:
    """Whether all that the model has learned is a number."""
    broken = model.not_finite()
    named = ", ".join(f"{count:,} in {field}" for field, count in broken.items())
    return Verdict(
        rule="finite",
        passed=not broken,
        message=f"NaN or infinite weights: {named}" if broken else "all weights are finite",
        figures={"not_finite": sum(broken.values())},
    )


def _finite(evidence: Evidence, _settings: GateSettings, _seed: int) -> Verdict:
    return finite_verdict(evidence.candidate.model)


def _answers(evidence: Evidence, _settings: GateSettings, seed: int) -> Verdict:
    """A smoke test: histories of all sorts get as many finite, unseen items as there are."""
    recommender, n_items = evidence.candidate, len(evidence.candidate.items)
    wrong: list[str] = []
    for history in _histories(recommender, seed):
        found = recommender.recommend(history, SMOKE_N)
        expected = min(SMOKE_N, n_items - len(set(history)))
        ids = {item.item_id for item in found.items}
        if (
            len(ids) != expected
            or ids & set(history)
            or not np.isfinite([i.score for i in found.items]).all()
        ):
            wrong.append(f"a history of {len(history)} items got {len(ids)} of {expected}")
    return Verdict(
        rule="answers",
        passed=not wrong,
        message=f"wrong answers: {wrong[0]}" if wrong else "histories of all sorts are answered",
        figures={"wrong": len(wrong)},
    )


def _histories(recommender: Recommender, seed: int) -> Iterable[list[str]]:
    """None, one popular item each, the longest, and some at random."""
    yield []
    for item in recommender.popular(SMOKE_N).items:
        yield [item.item_id]
    rows = recommender.model.histories_
    lengths = np.diff(rows.indptr)
    rng = np.random.default_rng(seed)
    chosen = [int(lengths.argmax()), *rng.integers(len(lengths), size=SMOKE_HISTORIES).tolist()]
    for row in chosen:
        yield list(recommender.items.ids[rows.indices[rows.indptr[row] : rows.indptr[row + 1]]])


def _enough_users(evidence: Evidence, settings: GateSettings, _seed: int) -> Verdict:
    n_users = len(evidence.judged["candidate"].per_user)
    passed = n_users >= settings.min_users
    message = f"{n_users:,} users have new events to judge on; at least {settings.min_users:,} are needed"
    if not passed:
        message += (
            " (retrain.gate.min_users); new events add up from night to night, and on a first night a "
            "retrain.holdout_share above 0.5 holds out more than half of the log"
        )
    return Verdict(
        rule="enough_users",
        passed=passed,
        message=message,
        figures={"users": n_users, "lowest": settings.min_users},
    )


def _volume(evidence: Evidence, settings: GateSettings, _seed: int) -> Verdict:
    now = evidence.data.events_per_day
    if now is None:
        return Verdict(
            rule="volume",
            passed=True,
            message="all events lie within an hour: their times say nothing of how many come in a day",
        )
    usual = median(evidence.past.events_per_day) if evidence.past.events_per_day else None
    low, high = (None, None) if usual is None else (ratio * usual for ratio in settings.volume_ratio)
    message = f"{now:,.0f} new events a day; no earlier run says what is usual"
    if usual is not None:
        message = f"{now:,.0f} new events a day, usually {usual:,.0f}; {low:,.0f} to {high:,.0f} are expected"
    return Verdict(
        rule="volume",
        passed=low is None or high is None or low <= now <= high,
        message=message,
        figures={"per_day": now, "usual": usual, "lowest": low, "highest": high},
    )


def _unknown(evidence: Evidence, settings: GateSettings, _seed: int) -> Verdict:
    data = evidence.data
    share = data.n_new_of_unknown_items / max(data.n_new, 1)
    bounds = (settings.max_unknown_share, settings.unknown_excess)
    return _share(
        "unknown_ids",
        share,
        "of the new events are of items that nobody had before",
        evidence.past.unknown_shares,
        bounds,
    )


def _quarantined(evidence: Evidence, settings: GateSettings, _seed: int) -> Verdict:
    share = evidence.quarantined_share
    bounds = (settings.max_quarantined_share, settings.quarantined_excess)
    if share is None:
        message = "no rows were ingested from files since the last run"
        return Verdict(
            rule="quarantined", passed=True, message=message, figures={"share": None, "highest": bounds[0]}
        )
    what = "of the rows ingested since the last run were unreadable"
    return _share("quarantined", share, what, evidence.past.quarantined_shares, bounds)


def _share(rule: str, share: float, what: str, past: Sequence[float], bounds: tuple[float, float]) -> Verdict:
    """A share may reach a highest value, and lie no more than so far above what is usual."""
    highest, excess = bounds
    usual = median(past) if past else None
    if usual is not None:
        highest = min(highest, usual + excess)
    known = "" if usual is None else f", usually {usual:.1%}"
    return Verdict(
        rule=rule,
        passed=share <= highest,
        message=f"{share:.1%} {what}{known}; at most {highest:.1%} are expected",
        figures={"share": share, "usual": usual, "highest": highest},
    )


def _usual(evidence: Evidence, settings: GateSettings, _seed: int) -> Verdict:
    live = evidence.judged.get("live")
    if live is None or not evidence.past.live_values:
        return Verdict(
            rule="usual", passed=True, message="no earlier run says what the live model usually reaches"
        )
    usual = median(evidence.past.live_values)
    lowest = settings.min_live_ratio * usual
    return Verdict(
        rule="usual",
        passed=live.mean >= lowest,
        message=f"the live model reaches {live.mean:.4f} on the new events, usually {usual:.4f}; "
        f"below {lowest:.4f} the events are taken for garbage",
        figures={"live": live.mean, "usual": usual, "lowest": lowest},
    )


def _not_worse(evidence: Evidence, settings: GateSettings, seed: int) -> Verdict:
    live, candidate = evidence.judged.get("live"), evidence.judged["candidate"]
    if live is None:
        return Verdict(rule="not_worse", passed=True, message=evidence.no_live)
    differences = candidate.per_user - live.per_user
    # one-sided: the interval of twice the level, so that its lower end is the bound wanted
    low, high = bootstrap_interval(differences, level=2 * settings.confidence - 1, seed=seed)
    lowest = -settings.margin * live.mean
    return Verdict(
        rule="not_worse",
        passed=low >= lowest,
        message=f"the candidate reaches {candidate.mean:.4f}, the live model {live.mean:.4f}; the difference is "
        f"{differences.mean():+.4f}, at {settings.confidence:.0%} confidence at least {low:+.4f}; "
        f"{lowest:+.4f} is the limit",
        figures={
            "candidate": candidate.mean,
            "live": live.mean,
            "difference": float(differences.mean()),
            "low": low,
            "high": high,
            "lowest": lowest,
            "wins": int((differences > 0).sum()),
            "losses": int((differences < 0).sum()),
            "ties": int((differences == 0).sum()),
        },
    )


def _beats_popularity(evidence: Evidence, _settings: GateSettings, _seed: int) -> Verdict:
    candidate, popular = evidence.judged["candidate"], evidence.judged["popularity"]
    return Verdict(
        rule="beats_popularity",
        passed=candidate.mean > popular.mean,
        message=f"the candidate reaches {candidate.mean:.4f}, the most popular items {popular.mean:.4f}",
        figures={"candidate": candidate.mean, "popularity": popular.mean},
    )


def _coverage(evidence: Evidence, settings: GateSettings, _seed: int) -> Verdict:
    now = evidence.judged["candidate"].values[evidence.coverage]
    live = evidence.judged.get("live")
    if live is None:
        return Verdict(
            rule="coverage",
            passed=True,
            message=f"{now:.1%} of the catalogue is suggested; no live model to compare with",
            figures={"candidate": now},
        )
    before = live.values[evidence.coverage]
    low, high = (ratio * before for ratio in settings.coverage_ratio)
    return Verdict(
        rule="coverage",
        passed=low <= now <= high,
        message=f"{now:.1%} of the catalogue is suggested, by the live model {before:.1%}; "
        f"{low:.1%} to {min(high, 1.0):.1%} are expected",
        figures={"candidate": now, "live": before, "lowest": low, "highest": high},
    )
