"""The steps of a nightly run, and what happens when one of them fails or the process dies in it.

Whatever happens, the live model stays in service until the last moment, when one small file is replaced. A run that was
killed is gone on with by the next one: it reads the log up to the same watermark, so its models are the same, and what
it had fitted, or the checkpoint inside a fit, is taken up again.
"""

import hashlib
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, TypeVar

import recae
from recae.artifacts import ModelStore, StoredModel
from recae.config import Settings
from recae.data.catalogue import Catalogue
from recae.data.eventlog import EventLog
from recae.data.eventlog.intake import unreadable_share
from recae.data.eventlog.items import StoredItems
from recae.data.eventlog.log import Tidied
from recae.data.history_rule import HistoryRule
from recae.data.interactions import Interactions
from recae.errors import ArtifactError, ConfigError, EventLogError, RecaeError, RetrainError, WarmStartError
from recae.evaluation.item_facts import ItemFacts
from recae.evaluation.specs import MetricSpec
from recae.models import create, load_model
from recae.models.base import Model
from recae.models.fitting import fit_to_everything
from recae.models.warm import Earlier
from recae.recommender import Recommender
from recae.retrain import report
from recae.retrain.baselines import popularity, tuned_als
from recae.retrain.contenders import Judged, as_serving, judge
from recae.retrain.drift import drift_of
from recae.retrain.gate import Evidence, Past, finite_verdict, force, refit_verdict, refusals, verdicts
from recae.retrain.nightdata import NightData, read_night
from recae.retrain.notify import notify
from recae.retrain_settings import RetrainSettings
from recae.runs import Run, RunTable, Step

T = TypeVar("T")

PAST_RUNS = 7
"""Earlier runs whose medians say what is usual."""
FIRST_PAUSE_S = 1.0
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
    create(
        settings.retrain.model, **settings.retrain.settings
    )  # refuses unknown names before anything begins
    table = RunTable(settings.runs)
    with table.claimed():
        run = _unfinished(table, settings, clock) or table.begin(
            started=datetime.fromtimestamp(clock(), UTC),
            forced=forced,
            plan=_plan(settings),
            live_version=ModelStore(settings.models).current(),
        )
        say(f"run {run.run_id}" + (", gone on with" if run.interruptions else ""))
        night = _Night(settings, table, run, metric, show_progress, say, between, clock)
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
        run: Run,
        metric: MetricSpec,
        show_progress: bool,
        say: Callable[[str], None],
        between: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        self.settings = settings
        self.how = settings.retrain
        self.table = table
        self.run = run
        self.folder = table.folder(run.run_id)
        self.metric = metric
        self.show_progress = show_progress
        self.say = say
        self.between = between
        self.clock = clock
        self.store = ModelStore(settings.models)
        self._log: EventLog | None = None

    def go(self) -> None:
        """All steps."""
        with self._step("watermark") as figures:
            self._check_space()
            if self.run.watermark is None:
                self.run.watermark = self._patiently(self._watermark, figures)
            figures["watermark"] = self.run.watermark
        with self._step("data") as figures:
            data = self._patiently(self._read, figures)
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
        if not data.n_new:
            self._end("unchanged", "no event is newer than what the live model has learned from")
            return
        if data.holdout is None:
            self._end(
                "refused",
                "no known user took anything new since the live model was made: nothing to judge on",
            )
            return
        with self._step("fit") as figures:
            candidate = self._candidate(data.train, figures)
        with self._step("judge") as figures:
            judged = self._judge(candidate, data, figures)
        with self._step("gate"):
            found = verdicts(
                Evidence(
                    as_serving(candidate, data.train.items),
                    data,
                    judged,
                    f"coverage@{self.metric.k}",
                    self._quarantined_share(),
                    self._past,
                ),
                self.how.gate,
                self.how.seed,
            )
            self.run.gate = force(found) if self.run.forced else found
        if self._is_refused():
            return
        model, learned = candidate, data.train
        if self.how.refit:
            with self._step("refit") as figures:
                learned = data.everything
                model = self._refitted(candidate, learned, figures)
                holdout = data.holdout
                again = judge(
                    as_serving(model, learned.items),
                    holdout,
                    data.train.items,
                    self._facts(data),
                    self.metric,
                )
                late = [finite_verdict(model), refit_verdict(again, judged["candidate"], self.how.gate)]
                self.run.gate = [
                    *(verdict for verdict in self.run.gate if verdict.rule not in {"finite", "refit"}),
                    *(force(late) if self.run.forced else late),
                ]
            if self._is_refused():
                return
        with self._step("store") as figures:
            self.run.version = self._stored(model, learned)
            figures["version"] = self.run.version
        with self._step("promote"):
            self.store.promote_over(self.run.version, self.run.live_version)
        with self._step("prune") as figures:
            figures["removed"] = self.store.prune(self.how.keep_versions)
            self.table.prune(self.how.keep_runs)
            tidied = self._patiently(self._tidy, figures)
            figures |= {"events_archived": tidied.archived, "events_expired": tidied.expired}
        forced = ", by force" if any(verdict.forced for verdict in self.run.gate) else ""
        self._end("promoted", f"{self.run.version} is in service{forced}")

    def fail(self, error: BaseException) -> None:
        """Write down why the run failed; the live model stays."""
        said = str(error) if isinstance(error, RecaeError) else f"{type(error).__name__}: {error}"
        self._end("failed", " ".join(said.split()))

    def close(self) -> None:
        """Give up the log's connections."""
        if self._log is not None:
            self._log.close()

    @property
    def log(self) -> EventLog:
        """The event log, opened at first use: its database may be away for a while."""
        if self._log is None:
            self._log = EventLog.open(self.settings)
        return self._log

    # ---------------------------------------------------------------- steps

    def _watermark(self) -> int:
        return self.log.watermark()

    def _read(self) -> NightData:
        live_until = self._live.manifest.watermark if self._live is not None else None
        return read_night(self.log, self.run.watermark or 0, self.how, live_until=live_until)

    def _candidate(self, train: Interactions, figures: dict[str, Any]) -> Model:
        kept = self.folder / "candidate.safetensors"
        if kept.is_file():
            figures["taken_up"] = True
            return load_model(kept)
        model = create(self.how.model, **self.how.settings)
        fitted = self._fitted(model, train, self.how.validation_share, "candidate", figures)
        half = self.folder / "candidate.half"
        fitted.save(half)
        half.replace(kept)
        return fitted

    def _refitted(self, candidate: Model, everything: Interactions, figures: dict[str, Any]) -> Model:
        model = type(candidate)(candidate.settled_config())
        return self._fitted(model, everything, 0.0, "refit", figures)

    def _fitted(
        self, model: Model, train: Interactions, validation_share: float, name: str, figures: dict[str, Any]
    ) -> Model:
        def fit(start: Earlier | None) -> Model:
            return fit_to_everything(
                model,
                train,
                validation_share=validation_share,
                seed=self.how.seed,
                show_progress=self.show_progress,
                checkpoint=self.folder / name,
                warm_start_from=start,
            )

        live = self._live
        start = None
        if self.how.warm_start and live is not None and model.supports_warm_start:
            start = Earlier(live.model, live.items, live.users)
        try:
            fitted = fit(start)
            figures["warm_start"] = start is not None
        except WarmStartError as error:
            figures |= {"warm_start": False, "no_warm_start": str(error)}
            fitted = fit(None)
        figures["settings"] = fitted.config.model_dump(mode="json")
        return fitted

    def _judge(self, candidate: Model, data: NightData, figures: dict[str, Any]) -> dict[str, Judged]:
        train, holdout = data.train, data.holdout
        assert holdout is not None  # noqa: S101 - `go` has looked
        contenders: dict[str, Recommender] = {"candidate": as_serving(candidate, train.items)}
        if self._live is not None:
            contenders["live"] = Recommender(self._live.model, self._live.items)
        elif self.run.live_version is not None:
            figures["live"] = self._live_problem
        contenders["popularity"] = as_serving(popularity(train), train.items)
        if self.how.als_trials:
            als, chosen = tuned_als(
                train, self.how.als_trials, self.metric, self.how.seed, show_progress=self.show_progress
            )
            figures["als"] = chosen
            contenders["als"] = as_serving(als, train.items)
        facts = self._facts(data)
        judged = {
            name: judge(contender, holdout, train.items, facts, self.metric)
            for name, contender in contenders.items()
        }
        self.run.values = {name: dict(each.values) for name, each in judged.items()}
        figures["users"] = len(holdout)
        return judged

    def _stored(self, model: Model, learned: Interactions) -> str:
        for version in reversed(
            self.store.versions()
        ):  # stored already, and killed before it was written down?
            if self.store.manifest(version).metrics.get("run_id") == self.run.run_id:
                return version
        catalogue = self._patiently(lambda: StoredItems(self.log.database).catalogue(), {})
        if not len(catalogue) and self._live is not None:
            catalogue = self._live.catalogue
        return self.store.save(
            model,
            learned.items,
            users=learned.users,
            catalogue=catalogue if len(catalogue) else Catalogue(()),
            metrics={"run_id": self.run.run_id, **self.run.values.get("candidate", {})},
            watermark=int(learned.times.max()) if learned.times is not None else None,
            history=rule_of(self.how),
        )

    def _tidy(self) -> Tidied:
        ages = self.settings
        return self.log.tidy(compact_after_days=ages.compact_after_days, retention_days=ages.retention_days)

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

    @cached_property
    def _past(self) -> Past:
        earlier = [
            run
            for run in self.table.newest_first()
            if run.status == "promoted" and run.run_id != self.run.run_id
        ][:PAST_RUNS]
        per_day = [run.drift.get("events_per_day") for run in earlier]
        live = [run.values.get("live", {}).get(str(self.metric)) for run in earlier]
        return Past(
            [value for value in per_day if value is not None], [value for value in live if value is not None]
        )

    def _facts(self, data: NightData) -> ItemFacts:
        return ItemFacts(data.train.matrix, data.train.items)

    def _quarantined_share(self) -> float | None:
        earlier = next((run for run in self.table.newest_first() if run.status == "promoted"), None)
        since = 0 if earlier is None else int(earlier.started.timestamp())
        return self._patiently(lambda: unreadable_share(self.log.database, since), {})

    def _is_refused(self) -> bool:
        """Whether the gate stays closed; the run is over then."""
        closed = refusals(self.run.gate)
        if closed:
            self._end("refused", "; ".join(f"{verdict.rule}: {verdict.message}" for verdict in closed))
        return bool(closed)

    def _end(self, status: Any, message: str) -> None:
        self.run.status, self.run.message = status, message
        self.run.finished = datetime.fromtimestamp(self.clock(), UTC)
        self.table.write(self.run)
        try:
            self.table.clean(self.run)
            report.write(self.run, list(self.table.newest_first()), self.folder, self.metric)
        except (OSError, RecaeError) as error:
            self.run.message += f" (no report: {error})"
        self.table.write(self.run)
        self.say(f"{status}: {message}")
        told = notify(self.run, self.how.notify)
        if told:
            self.run.message += f" ({told})"
            self.table.write(self.run)

    @contextmanager
    def _step(self, name: str) -> Iterator[dict[str, Any]]:
        self.between(name)
        self.say(name)
        step = Step(name=name, started=datetime.fromtimestamp(self.clock(), UTC))
        self.run.steps.append(step)
        self.table.write(self.run)
        began = time.monotonic()
        try:
            yield step.figures
        except Exception as error:
            step.status, step.message = "failed", f"{type(error).__name__}: {error}"
            step.seconds = time.monotonic() - began
            raise
        step.status, step.seconds = "done", time.monotonic() - began
        self.table.write(self.run)

    def _patiently(self, work: Callable[[], T], figures: dict[str, Any]) -> T:
        """Do what needs the database, again and again while it cannot be reached."""
        deadline, pause = time.monotonic() + self.how.retry_s, FIRST_PAUSE_S
        while True:
            try:
                return work()
            except EventLogError as error:
                if time.monotonic() + pause > deadline:
                    raise
                figures["retries"] = figures.get("retries", 0) + 1
                self.say(f"{error}; trying again in {pause:.0f} s")
                self.close()
                self._log = None
                time.sleep(pause)
                pause = min(2 * pause, 60.0)

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


def rule_of(settings: RetrainSettings) -> HistoryRule:
    """How serving has to make histories of events, so that they are what was learned from."""
    return HistoryRule(**{name: getattr(settings, name) for name in HistoryRule.model_fields})


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
