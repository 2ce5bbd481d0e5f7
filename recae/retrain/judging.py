"""All contenders of a night on the same questions, and what the gate says of the candidate."""

from dataclasses import dataclass
from typing import Any

from recae.evaluation.item_facts import ItemFacts
from recae.evaluation.specs import MetricSpec
from recae.models.base import Model
from recae.recommender import Recommender
from recae.retrain.baselines import popularity, tuned_als
from recae.retrain.contenders import Judged, as_serving, judge
from recae.retrain.gate import Evidence, finite_verdict, force, refit_verdict, refusals, verdicts
from recae.retrain.history import History
from recae.retrain.live import LiveModel
from recae.retrain.nightdata import NightData
from recae.retrain_settings import RetrainSettings
from recae.runs import Run, Verdict


@dataclass(frozen=True)
class Jury:
    """Judges one run, and writes what it found into the record."""

    run: Run
    live: LiveModel
    settings: RetrainSettings
    metric: MetricSpec
    """What the gate compares."""
    data: NightData
    show_progress: bool

    def judge(self, candidate: Model, figures: dict[str, Any]) -> dict[str, Judged]:
        """What each contender reaches: "candidate", "live" if there is one, "popularity", and "als" if it is wanted."""
        train = self.data.train
        contenders: dict[str, Recommender] = {"candidate": as_serving(candidate, train.items)}
        if self.live.stored is not None:
            contenders["live"] = self.live.stored.recommender()
        elif self.live.problem:
            figures["live"] = self.live.problem
        contenders["popularity"] = as_serving(popularity(train), train.items)
        if self.settings.als_trials:
            als, figures["als"] = tuned_als(
                train,
                self.settings.als_trials,
                self.metric,
                self.settings.seed,
                show_progress=self.show_progress,
            )
            contenders["als"] = as_serving(als, train.items)
        judged = {name: self._judged(contender) for name, contender in contenders.items()}
        self.run.values = {name: dict(each.values) for name, each in judged.items()}
        figures["users"] = len(judged["candidate"].per_user)
        return judged

    def ask_gate(
        self,
        candidate: Model,
        judged: dict[str, Judged],
        history: History,
        quarantined_share: float | None,
    ) -> None:
        """All rules but the last.

        Args:
            candidate: the model.
            judged: as of `judge`.
            history: what is usual.
            quarantined_share: of the rows ingested since an earlier run has looked at them; None if there were none.
        """
        evidence = Evidence(
            as_serving(candidate, self.data.train.items),
            self.data,
            judged,
            f"coverage@{self.metric.k}",
            quarantined_share,
            history.past(str(self.metric)),
            self.live.problem,
        )
        self.run.gate = self._by_force(verdicts(evidence, self.settings.gate, self.settings.seed))

    def look_again(self, refitted: Model, candidate: Judged) -> None:
        """The gate's last rules, on the refitted model."""
        again = self._judged(as_serving(refitted, self.data.everything.items))
        late = [finite_verdict(refitted), refit_verdict(again, candidate, self.settings.gate)]
        before = [verdict for verdict in self.run.gate if verdict.rule not in {"finite", "refit"}]
        self.run.gate = [*before, *self._by_force(late)]

    def refusal(self) -> str:
        """Why the gate stays closed; nothing if it opens."""
        return "; ".join(f"{verdict.rule}: {verdict.message}" for verdict in refusals(self.run.gate))

    def _by_force(self, found: list[Verdict]) -> list[Verdict]:
        return force(found) if self.run.forced else found

    def _judged(self, recommender: Recommender) -> Judged:
        train, holdout = self.data.train, self.data.holdout
        if holdout is None:
            raise ValueError("there is nothing to judge on")
        return judge(recommender, holdout, train.items, ItemFacts(train.matrix, train.items), self.metric)
