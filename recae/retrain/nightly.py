"""The steps of a nightly run, and what happens when one of them fails or the process dies in it.

Whatever happens, the live model stays in service until the last moment, when one small file is replaced. A run that was
killed is gone on with by the next one: it reads the log up to the same watermark, so its models are the same, and what
it had fitted, or the checkpoint inside a fit, is taken up again.
"""

import hashlib
import shutil
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import recae
from recae.artifacts import ModelStore, StoredModel
from recae.config import Settings
from recae.data.eventlog.intake import unreadable_share
from recae.data.eventlog.items import StoredItems
from recae.data.interactions import Interactions
from recae.errors import ArtifactError, ConfigError, RecaeError, RetrainError
from recae.evaluation.item_facts import ItemFacts
from recae.evaluation.specs import MetricSpec
from recae.models import create
from recae.models.base import Model
from recae.recommender import Recommender
from recae.retrain.baselines import popularity, tuned_als
from recae.retrain.candidates import Candidates
from recae.retrain.contenders import Judged, as_serving, judge
from recae.retrain.drift import drift_of
from recae.retrain.gate import Evidence, Past, finite_verdict, force, refit_verdict, refusals, verdicts
from recae.retrain.nightdata import NightData, read_night, rule_of
from recae.retrain.patient_log import PatientLog
from recae.retrain.recorder import Recorder
from recae.retrain_settings import Status
from recae.runs import Run, RunTable

PAST_RUNS = 7
"""Earlier runs whose medians say what is usual."""
SPARE_BYTES = 200 * 2**20
"""Free space a run wants beside three times the live model's."""


def retrain(
    settings: Settings,
    *,
    forced: bool = False,
    show_progress: bool = True,
    say: Callable[[str], None] = lambda _: None,
    between: Callable[[str], None] = lambda _: None,
    clock: Callable[[], float] = time.time,
) -> Run:
    """Learn from the log, judge, and put what was learned into service if it is no worse. Never raises for a bad night.

    Args:
        settings: where everything is, and the table ``retrain``.
        forced: put the candidate into service whatever the gate says, if it answers at all; the record says so.
        show_progress: show bars.
        say: told about each step.
        between: called with a step's name before it begins; for tests that kill a run there.
        clock: seconds since 1970; for simulations.

    Returns:
        The record, which says how it ended and why.

    Raises:
        RetrainError: if another run is going on.
        ConfigError: for settings that no run could use.
    """
    metric = _metric(settings)
    create(settings.retrain.model, **settings.retrain.settings)  # unknown names are refused now
    table = RunTable(settings.runs)
    with table.claimed():
        run = _unfinished(table, settings, clock) or table.begin(
            started=datetime.fromtimestamp(clock(), UTC),
            forced=forced,
            plan=_plan(settings),
            live_version=ModelStore(settings.models).current(),
        )
        say(f"run {run.run_id}" + (", gone on with" if run.interruptions else ""))
        night = _Night(
            settings, table, Recorder(run, table, metric, say, between, clock), metric, say, show_progress
        )
        try:
            night.go()
        except (RecaeError, OSError, MemoryError) as error:
            night.fail(error)
        except Exception as error:
            night.fail(error)
            raise
        finally:
            night.close()
        return run


class _Night:
    """One run while it goes on."""

    def __init__(
        self,
        settings: Settings,
        table: RunTable,
        recorder: Recorder,
        metric: MetricSpec,
        say: Callable[[str], None],
        show_progress: bool,
    ) -> None:
        self.settings = settings
        self.how = settings.retrain
        self.table = table
        self.recorder = recorder
        self.run = recorder.run
        self.metric = metric
        self.show_progress = show_progress
        self.store = ModelStore(settings.models)
        self.log = PatientLog(settings, say)

    def go(self) -> None:
        """All steps."""
        step = self.recorder.step
        with step("watermark") as figures:
            self._check_space()
            if self.run.watermark is None:
                self.run.watermark = self.log.ask(lambda log: log.watermark(), figures)
            figures["watermark"] = self.run.watermark
        with step("data") as figures:
            data = self._read(figures)
        if not data.n_new:
            self._end("unchanged", "no event is newer than what the live model has learned from")
            return
        if data.holdout is None:
            self._end(
                "refused",
                "no known user took anything new since the live model was made: nothing to judge on",
            )
            return
        folder = self.table.folder(self.run.run_id)
        candidates = Candidates(self.how, folder, self._live, self.show_progress)
        with step("fit") as figures:
            candidate = candidates.candidate(data.train, figures)
        with step("judge") as figures:
            judged = self._judge(candidate, data, figures)
        with step("gate"):
            self._ask_gate(candidate, data, judged)
        if self._is_refused():
            return
        model, learned = candidate, data.train
        if self.how.refit:
            with step("refit") as figures:
                model, learned = candidates.refitted(candidate, data.everything, figures), data.everything
                self._look_again(model, data, judged["candidate"])
            if self._is_refused():
                return
        with step("store") as figures:
            self.run.version = self._stored(model, learned)
            figures["version"] = self.run.version
        with step("promote"):
            self.store.promote_over(self.run.version, self.run.live_version)
        with step("prune") as figures:
            self._prune(figures)
        forced = ", by force" if any(verdict.forced for verdict in self.run.gate) else ""
        self._end("promoted", f"{self.run.version} is in service{forced}")

    def fail(self, error: BaseException) -> None:
        """Write down why the run failed; the live model stays."""
        said = str(error) if isinstance(error, RecaeError) else f"{type(error).__name__}: {error}"
        self._end("failed", " ".join(said.split()))

    def close(self) -> None:
        """Give up the log's connections."""
        self.log.close()

    # ---------------------------------------------------------------- steps

    def _read(self, figures: dict[str, Any]) -> NightData:
        until, live = self.run.watermark or 0, self._live
        live_until = live.manifest.watermark if live is not None else None
        data = self.log.ask(lambda log: read_night(log, until, self.how, live_until=live_until), figures)
        self.run.drift = drift_of(data)
        figures |= {
            "events": data.n_events,
            "users": data.everything.n_users,
            "items": data.everything.n_items,
            "interactions": len(data.everything),
            "new_events": data.n_new,
            "cut": data.cut,
            "newest": data.newest,
        }
        return data

    def _judge(self, candidate: Model, data: NightData, figures: dict[str, Any]) -> dict[str, Judged]:
        train = data.train
        contenders: dict[str, Recommender] = {"candidate": as_serving(candidate, train.items)}
        if self._live is not None:
            contenders["live"] = self._live.recommender()
        elif self.run.live_version is not None:
            figures["live"] = self._live_problem
        contenders["popularity"] = as_serving(popularity(train), train.items)
        if self.how.als_trials:
            als, figures["als"] = tuned_als(
                train, self.how.als_trials, self.metric, self.how.seed, show_progress=self.show_progress
            )
            contenders["als"] = as_serving(als, train.items)
        judged = {name: self._judged(contender, data) for name, contender in contenders.items()}
        self.run.values = {name: dict(each.values) for name, each in judged.items()}
        figures["users"] = len(judged["candidate"].per_user)
        return judged

    def _ask_gate(self, candidate: Model, data: NightData, judged: dict[str, Judged]) -> None:
        evidence = Evidence(
            as_serving(candidate, data.train.items),
            data,
            judged,
            f"coverage@{self.metric.k}",
            self._quarantined_share(),
            self._past(),
        )
        found = verdicts(evidence, self.how.gate, self.how.seed)
        self.run.gate = force(found) if self.run.forced else found

    def _look_again(self, model: Model, data: NightData, candidate: Judged) -> None:
        """The gate's last rules, on the refitted model."""
        again = self._judged(as_serving(model, data.everything.items), data)
        late = [finite_verdict(model), refit_verdict(again, candidate, self.how.gate)]
        before = [verdict for verdict in self.run.gate if verdict.rule not in {"finite", "refit"}]
        self.run.gate = [*before, *(force(late) if self.run.forced else late)]

    def _stored(self, model: Model, learned: Interactions) -> str:
        already = self._stored_before_a_kill()
        if already is not None:
            return already
        catalogue = self.log.ask(lambda log: StoredItems(log.database).catalogue())
        if not len(catalogue) and self._live is not None:
            catalogue = self._live.catalogue
        return self.store.save(
            model,
            learned.items,
            users=learned.users,
            catalogue=catalogue,
            metrics={"run_id": self.run.run_id, **self.run.values.get("candidate", {})},
            watermark=int(learned.times.max()) if learned.times is not None else None,
            history=rule_of(self.how),
        )

    def _stored_before_a_kill(self) -> str | None:
        """The version that this run had stored when it was killed, if it could not write that down any more."""
        for version in reversed(self.store.versions()):
            try:
                if self.store.manifest(version).metrics.get("run_id") == self.run.run_id:
                    return version
            except ArtifactError:
                continue  # somebody else's damage
        return None

    def _prune(self, figures: dict[str, Any]) -> None:
        figures["removed"] = self.store.prune(self.how.keep_versions, spare=self.settings.named_versions)
        self.table.prune(self.how.keep_runs)
        ages = self.settings
        tidied = self.log.ask(
            lambda log: log.tidy(
                compact_after_days=ages.compact_after_days, retention_days=ages.retention_days
            ),
            figures,
        )
        figures |= {"events_archived": tidied.archived, "events_expired": tidied.expired}

    # ---------------------------------------------------------------- what steps share

    @cached_property
    def _live(self) -> StoredModel | None:
        """The version in service as it was when the run began; None if there is none that can be read."""
        if self.run.live_version is None:
            return None
        try:
            return self.store.load(self.run.live_version)
        except ArtifactError as error:
            self._live_problem = str(error)
            return None

    def _judged(self, recommender: Recommender, data: NightData) -> Judged:
        if data.holdout is None:
            raise ValueError("there is nothing to judge on")
        facts = ItemFacts(data.train.matrix, data.train.items)
        return judge(recommender, data.holdout, data.train.items, facts, self.metric)

    def _past(self) -> Past:
        """What the last runs that ended well found."""
        earlier = [run for run in self.table.newest_first() if run.status == "promoted"][:PAST_RUNS]
        live = [run.values.get("live", {}).get(str(self.metric)) for run in earlier]
        shares = [
            verdict.figures.get("share")
            for run in earlier
            for verdict in run.gate
            if verdict.rule == "quarantined"
        ]
        return Past(
            events_per_day=_known(run.drift.get("events_per_day") for run in earlier),
            unknown_shares=_known(run.drift.get("unknown_share") for run in earlier),
            quarantined_shares=_known(shares),
            live_values=_known(live),
        )

    def _quarantined_share(self) -> float | None:
        earlier = next((run for run in self.table.newest_first() if run.status == "promoted"), None)
        since = 0.0 if earlier is None else earlier.started.timestamp()
        return self.log.ask(lambda log: unreadable_share(log.database, since))

    def _is_refused(self) -> bool:
        """Whether the gate stays closed; the run is over then."""
        closed = refusals(self.run.gate)
        if closed:
            self._end("refused", "; ".join(f"{verdict.rule}: {verdict.message}" for verdict in closed))
        return bool(closed)

    def _end(self, status: Status, message: str) -> None:
        self.recorder.end(status, message, self.how.notify)

    def _check_space(self) -> None:
        wanted = SPARE_BYTES
        if self.run.live_version is not None:
            folder = self.store.root / self.run.live_version
            wanted += 3 * sum(file.stat().st_size for file in folder.glob("*"))
        free = shutil.disk_usage(self.settings.home).free
        if free < wanted:
            raise RetrainError(
                f"{free / 2**20:,.0f} MB are free in {self.settings.home}, and a run may need {wanted / 2**20:,.0f} MB; "
                "make room, or lower retrain.keep_versions"
            )


def _unfinished(table: RunTable, settings: Settings, clock: Callable[[], float]) -> Run | None:
    """The run to go on with; one that cannot be gone on with is closed."""
    run = table.unfinished()
    if run is None:
        for last in table.newest_first():
            table.clean(last)  # killed after its end was written, before its weights were removed
            break
        return None
    current = ModelStore(settings.models).current()
    age_h = (clock() - run.started.timestamp()) / 3600
    same = run.plan == _plan(settings) and current in (run.live_version, run.version)
    if same and age_h <= settings.retrain.resume_hours:
        run.interruptions += 1
        for step in run.steps:
            if step.status == "running":
                step.status, step.message = "failed", "its process was killed"
        return run
    why = "it was too long ago" if same else "settings or the live model have changed since"
    run.status, run.message = "interrupted", f"its process was killed; not gone on with: {why}"
    table.clean(run)
    table.write(run)
    return None


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _plan(settings: Settings) -> str:
    """Hash of all that the models of a night follow from, beside the events."""
    text = f"{recae.__version__} {settings.retrain.model_dump_json()} {settings.events_url}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _metric(settings: Settings) -> MetricSpec:
    metric = MetricSpec.parse(settings.retrain.gate.metric)
    if metric.k is None or metric.definition.per_row is None:
        raise ConfigError(
            f"the gate cannot compare by {metric}: expected a metric of lists with a cut-off, such as ndcg@20"
        )
    return metric
