"""What Prometheus reads at /metrics: requests, models, recommendations, fold-ins, and how old the newest event is.

Serving processes write their counts into files that they share through PROMETHEUS_MULTIPROC_DIR, and the one that is
asked sums them up; without that variable a process counts for itself. The variable has to be set before
prometheus_client is imported, which is why that happens here so late.
"""

import os
import time
from typing import TYPE_CHECKING, Any, Final

from flask import Response, current_app, g

from recae.api.logs import UNROUTED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client.metrics_core import Metric

    from recae.config import Settings

EXTENSION: Final = "recae-metrics"
FOLDER_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Upper bounds of the buckets of times."""
RECENT: Final = 1_000
"""Among so many of the last arrivals the newest event is looked for; there is no index by time alone."""
FALLBACK: Final = "fallback"
OTHER_METHOD: Final = "other"
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """The counters of one application."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self.registry = registry = CollectorRegistry()
        self._requests = Histogram(
            "recae_request_seconds",
            "Time to answer, by route and status.",
            ["method", "route", "status"],
            buckets=SECONDS,
            registry=registry,
        )
        self._recommendations = Histogram(
            "recae_recommendation_seconds",
            "Time to recommend, by strategy: model, fold_in or fallback.",
            ["strategy"],
            buckets=SECONDS,
            registry=registry,
        )
        self._fold_ins = Histogram(
            "recae_fold_in_seconds",
            "Time from a user's history to the ranking: encoded, scored and filtered, without the event log.",
            buckets=SECONDS,
            registry=registry,
        )
        self._workers = Gauge(
            "recae_model_workers",
            "Serving processes that have this version in service.",
            ["version"],
            multiprocess_mode="livesum",
            registry=registry,
        )
        self._swaps = Counter("recae_model_loads", "Models put into service.", registry=registry)
        self._failures = Counter(
            "recae_model_load_failures", "Promoted models that could not be loaded.", registry=registry
        )
        self._by_strategy: dict[str, Any] = {}
        self._by_place: dict[tuple[str, str, int], Any] = {}  # labels() validates and locks: once is enough

    def request_answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        place = (method if method in METHODS else OTHER_METHOD, route, status)
        found = self._by_place.get(place)
        if found is None:
            found = self._by_place[place] = self._requests.labels(place[0], route, str(status))
        found.observe(seconds)

    def recommended(self, strategy: str, seconds: float, fold_in_s: float) -> None:
        """Count one recommendation; a request for a batch makes several.

        Args:
            strategy: what it went by.
            seconds: all that it took.
            fold_in_s: of these, what the model took; without a known history there is nothing to fold in.
        """
        if strategy != FALLBACK:
            self._fold_ins.observe(fold_in_s)
        found = self._by_strategy.get(strategy)
        if found is None:
            found = self._by_strategy[strategy] = self._recommendations.labels(strategy)
        found.observe(seconds)

    def model_loaded(self, version: str, replaced: str | None) -> None:
        """Count a model put into service."""
        self._swaps.inc()
        if replaced:
            self._workers.labels(replaced).set(0)
        self._workers.labels(version).set(1)

    def model_failed(self) -> None:
        """Count a model that could not be loaded."""
        self._failures.inc()

    def exposition(self, settings: "Settings") -> tuple[bytes, str]:
        """All values in Prometheus' text format, and its media type."""
        from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
        from prometheus_client.multiprocess import MultiProcessCollector

        lag = CollectorRegistry()
        lag.register(EventLag(settings))
        registry = self.registry
        if FOLDER_VARIABLE in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)
        return generate_latest(registry) + generate_latest(lag), CONTENT_TYPE_LATEST


class EventLag:
    """Age of the newest event, asked of the event log when Prometheus asks."""

    def __init__(self, settings: "Settings") -> None:
        self._settings = settings

    def collect(self) -> "Iterable[Metric]":
        """One gauge, or nothing where the log is empty or cannot be read."""
        from prometheus_client.metrics_core import GaugeMetricFamily

        age = self._age_s()
        if age is not None:
            yield GaugeMetricFamily(
                "recae_event_lag_seconds", "Age of the newest of the last 1,000 events that arrived.", age
            )

    def _age_s(self) -> float | None:
        from recae.data.eventlog import EventLog
        from recae.errors import RecaeError

        try:
            with EventLog.open(self._settings, create=False) as log:  # looking must not make a log
                newest = log.newest(RECENT)
        except RecaeError:  # its own alarms tell; the other values are wanted all the more now
            return None
        return None if newest is None else max(0.0, time.time() - newest)


def current_metrics() -> Metrics:
    """The counters of the application that handles this request."""
    found: Metrics = current_app.extensions[EXTENSION]
    return found


def count_recommendation(strategy: str, seconds: float, fold_in_s: float) -> None:
    """Count a recommendation that this request made, and name its strategy in the request's line of the log."""
    g.strategy = strategy
    current_metrics().recommended(strategy, seconds, fold_in_s)


def count_request(response: Response, method: str, rule: str | None, noted: Any) -> None:
    """Count a request, by what was noted of it in ``g``; ``rule`` is that of its route, None where no path matched."""
    current_metrics().request_answered(
        method,
        rule or UNROUTED,
        response.status_code,
        time.perf_counter() - noted.started,
    )
