"""The steps of a nightly run, and what happens when one of them fails or the process dies in it.

From the moment at which a model is in service the run is promoted, whatever goes wrong after that.
"""

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from recae.artifacts import ModelStore
from recae.config import Settings
from recae.data.eventlog.intake import unreadable_share
from recae.data.eventlog.items import StoredItems
from recae.data.interactions import Interactions
from recae.errors import ArtifactError, RetrainError, name_some
from recae.evaluation.specs import MetricSpec
from recae.history_rule import DAY_S
from recae.models.base import Model
from recae.retrain import novelty
from recae.retrain.candidates import Candidates
from recae.retrain.drift import drift_of
from recae.retrain.history import History
from recae.retrain.judging import Jury
from recae.retrain.live import LiveModel
from recae.retrain.nightdata import NightData, cut_night, rule_of
from recae.retrain.patient_log import PatientLog
from recae.retrain.reading import Reading, read_log
from recae.retrain.recorder import Recorder, in_a_line
from recae.retrain.upkeep import how_to_make_room, room_wanted, summary_of, tidy_up
from recae.retrain_settings import Status
from recae.runs import RunTable

LATEST = 2.0**53
"""No clock shows a later second, however far off the settings let it be."""


class Night:
    """One run while it goes on."""

    def __init__(
        self,
        settings: Settings,
        table: RunTable,
        recorder: Recorder,
        metric: MetricSpec,
        show_progress: bool,
        clock: Callable[[], float],
    ) -> None:
        self.settings = settings
        self.how = settings.retrain
        self.table = table
        self.recorder = recorder
        self.run = recorder.run
        self.metric = metric
        self.show_progress = show_progress
        self.clock = clock
        self.store = ModelStore(settings.models)
        self.log = PatientLog(settings, recorder.say)

    def go(self, problem: Exception | None = None) -> None:
        """All steps, and the end.

        Args:
            problem: what the run fails by at once.
        """
        status: Status
        if problem is not None:
            self._fail(problem)
            return
        try:
            status, message = self._ending()
        except Exception as error:  # noqa: BLE001 - a bad night is written down, whatever made it so
            if not self._is_in_service():
                self._fail(error)
                return
            self.recorder.remark(self.recorder.reason(error))
            status, message = self._promoted()
        self._tidy_up()
        self.recorder.end(status, message, self.how.notify)

    def _fail(self, error: Exception) -> None:
        self.recorder.end("failed", self.recorder.reason(error), self.how.notify)

    def _ending(self) -> tuple[Status, str]:
        """All steps up to the model in service, or to the reason why there is none."""
        step = self.recorder.step
        with step("watermark") as figures:
            self._check_space()
            if self.run.watermark is None:
                self.run.watermark = self.log.ask(lambda log: log.watermark(), figures)
            figures["watermark"] = self.run.watermark
        with step("data") as figures:
            reading = self._read(figures)
            found = self._cut(reading, figures)
        if isinstance(found, str):
            return "unchanged", found
        if found.holdout is None:
            return (
                "refused",
                "no known user took anything new since the live model was made: nothing to judge on",
            )
        return self._learned(reading, found)

    def _learned(self, reading: Reading, data: NightData) -> tuple[Status, str]:
        """The steps from the fit on."""
        step = self.recorder.step
        folder = self.table.folder(self.run.run_id)
        candidates = Candidates(self.how, folder, self._live.stored, self.show_progress)
        jury = Jury(self.run, self._live, self.how, self.metric, data, self.show_progress)
        with step("fit") as figures:
            candidate = candidates.candidate(data.train, figures)
            is_anew = "fitted_anew" in figures
        with step("judge") as figures:
            judged = jury.judge(candidate, figures)
        with step("gate"):
            self.recorder.remark(self._history.ignored)
            jury.ask_gate(candidate, judged, self._history, self._quarantined_share())
        if closed := jury.refusal():
            return "refused", closed
        model, learned = candidate, data.train
        if self.how.refit:
            with step("refit") as figures:
                model, learned = candidates.refitted(candidate, data.everything, figures), data.everything
                is_anew |= "fitted_anew" in figures
                jury.look_again(model, judged["candidate"])
            if closed := jury.refusal():
                return "refused", closed
        with step("store") as figures:
            self.run.version = self._stored(model, learned, reading, is_anew=is_anew)
            figures["version"] = self.run.version
        with step("promote"):
            self.store.promote_over(self.run.version, self.run.live_version)
        return self._promoted()

    def _promoted(self) -> tuple[Status, str]:
        forced = ", by force" if any(verdict.forced for verdict in self.run.gate) else ""
        return "promoted", f"{self.run.version} is in service{forced}"

    def close(self) -> None:
        """Give up the log's connections."""
        self.log.close()

    # ---------------------------------------------------------------- steps

    def _read(self, figures: dict[str, Any]) -> Reading:
        if self._live.problem:
            self.recorder.remark(f"the model in service cannot be read: {self._live.problem}")
        made, until = self._live.how_made, self.run.watermark or 0
        known_until = made.known_until if made is not None else 0
        reading = self.log.ask(
            lambda log: read_log(log, until, self.how, known_until=known_until, now=self._latest), figures
        )
        figures |= {"read": reading.n_read, "newest": reading.newest}
        if reading.unnamed:
            figures["unnamed_types"] = reading.unnamed
            named = name_some(reading.unnamed)
            self.recorder.remark(
                f"{sum(reading.unnamed.values()):,} events of types without a weight are left out: {named}"
            )
        return reading

    def _cut(self, reading: Reading, figures: dict[str, Any]) -> NightData | str:
        """The night's data, or why there is nothing to learn."""
        learned_until, made = None, self._live.how_made
        if made is not None:
            learned_until, odd = made.learned_until(reading)
            self.recorder.remark(odd)
            if learned_until is not None and not reading.from_second(learned_until + 1).any():
                if not self.run.forced:
                    return novelty.nothing_new(made, reading, learned_until, self.how)
                learned_until = None
                figures["known_asked"] = True
                self.recorder.remark(
                    "no event is new, so the model in service has learned from those that were held out, and seems better "
                    "than it is"
                )
        data = cut_night(reading, self.how, live_until=learned_until)
        self.run.drift = drift_of(data)
        figures |= {
            "events": data.n_events,
            "users": data.everything.n_users,
            "items": data.everything.n_items,
            "interactions": len(data.everything),
            "new_events": data.n_new,
            "cut": data.cut,
        }
        if data.is_drawn:
            figures["drawn"] = True
            self.recorder.remark(
                "all events lie within an hour, as those of files without times do, so what was held out was drawn by lot; "
                "with the column timestamp the newest are"
            )
        return data

    def _stored(self, model: Model, learned: Interactions, reading: Reading, *, is_anew: bool) -> str:
        already = None if is_anew else self._stored_before_a_kill()
        if already is not None:
            return already
        catalogue = self.log.ask(lambda log: StoredItems(log.database).catalogue())
        if not len(catalogue) and self._live.stored is not None:
            catalogue = self._live.stored.catalogue
        days = self.how.popular_days
        return self.store.save(
            model,
            learned.items,
            users=learned.users,
            catalogue=catalogue,
            metrics={"run_id": self.run.run_id, **self.run.values.get("candidate", {})},
            watermark=reading.newest,
            history=rule_of(self.how),
            lately=None if days is None else learned.users_since(round(reading.newest - days * DAY_S)),
            learned_from=reading.position,
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

    def _tidy_up(self) -> None:
        """What every night ends with that could read the log."""
        try:
            with self.recorder.step("prune") as figures:
                problems = tidy_up(self.settings, self.store, self.table, self.log, figures, self.clock())
                if problems:
                    figures["not_done"] = problems
                self.run.steps[-1].message = summary_of(figures)
        except OSError as error:  # of the record
            problems = [in_a_line(error)]
        for problem in problems:
            self.recorder.remark(problem)

    # ---------------------------------------------------------------- what steps share

    @cached_property
    def _live(self) -> LiveModel:
        """The version in service as it was when the run began."""
        return LiveModel.of(self.store, self.run.live_version, self.table, self._history.earlier)

    @cached_property
    def _history(self) -> History:
        """The runs before this one."""
        return History.of(self.table, self.run, datetime.fromtimestamp(self.clock(), UTC))

    def _quarantined_share(self) -> float | None:
        """Of the rows ingested since a run has looked at them."""
        since, until = self._history.counted_until, self._latest
        return self.log.ask(lambda log: unreadable_share(log.database, since, until))

    @property
    def _latest(self) -> float:
        """Second after which an event lies in the future."""
        return min(self.clock() + self.settings.max_clock_skew_s, LATEST)

    def _is_in_service(self) -> bool:
        """Whether the version that this run stored is."""
        try:
            return self.run.version is not None and self.store.current() == self.run.version
        except (ArtifactError, OSError):
            return False

    def _check_space(self) -> None:
        wanted = room_wanted(self.store, self.run.live_version)
        free = shutil.disk_usage(self.settings.home).free
        if free < wanted:
            raise RetrainError(
                f"{free / 2**20:,.0f} MB are free in {self.settings.home}, and a run may need {wanted / 2**20:,.0f} MB; "
                + how_to_make_room(self.store, self.settings.named_versions)
            )
