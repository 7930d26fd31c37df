"""The metrics of the service in the format of Prometheus. A value that is not known is absent.

With several workers, prometheus_client keeps counters in files that all of them share, in the folder that the variable
PROMETHEUS_MULTIPROC_DIR names; what only one worker knows is then left out.
"""

import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from churn.serving.champion import Champion
from churn.serving.request_log import RequestLog

if TYPE_CHECKING:
    from prometheus_client.core import Metric

SHARED = "PROMETHEUS_MULTIPROC_DIR"
# Upper limits of durations, in seconds.
DURATIONS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


class Metrics:
    """Counters of the service, and what is known at the moment of the question."""

    def __init__(self, champion: Champion, log: RequestLog | None) -> None:
        """Declare the metrics."""
        from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector

        self._registry = CollectorRegistry()
        self._requests = Counter(
            "churn_serve_requests", "Requests, by route and status.", ["route", "status"], registry=self._registry
        )
        self._durations = Histogram(
            "churn_serve_duration_seconds", "Time to the answer.", ["route"], buckets=DURATIONS, registry=self._registry
        )
        self._rows = Counter("churn_serve_rows", "Rows, by result.", ["result"], registry=self._registry)
        self._swaps = Counter("churn_serve_models", "Models tried, by result.", ["result"], registry=self._registry)
        for result in ("scored", "faulty"):
            self._rows.labels(result)
        for result in ("swapped", "refused"):
            self._swaps.labels(result)
        # Looking labels up takes longer than counting.
        self._known: dict[tuple[str, int], tuple[Any, Any]] = {}
        self._scored, self._faulty = self._rows.labels("scored"), self._rows.labels("faulty")
        champion.on_swap = lambda result: self._swaps.labels(result).inc()
        if SHARED not in os.environ:
            ProcessCollector(registry=self._registry)
            self._registry.register(_Present(champion, log))

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        known = self._known.get((route, status))
        if known is None:
            known = self._requests.labels(route, str(status)), self._durations.labels(route)
            self._known[route, status] = known
        known[0].inc()
        known[1].observe(seconds)

    def scored(self, rows: int, faulty: int) -> None:
        """Count rows."""
        if rows:
            self._scored.inc(rows)
        if faulty:
            self._faulty.inc(faulty)

    def page(self) -> tuple[bytes, str]:
        """Return the metrics, and their media type."""
        from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
        from prometheus_client.multiprocess import MultiProcessCollector

        registry = self._registry
        if SHARED in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry), CONTENT_TYPE_LATEST


class _Present:
    """What is known at the moment of the question."""

    def __init__(self, champion: Champion, log: RequestLog | None) -> None:
        self._champion, self._log = champion, log

    def describe(self) -> list[Any]:
        """Return nothing: names are not looked up at the registration."""
        return []

    def collect(self) -> "Iterator[Metric]":
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        champion, log, now = self._champion, self._log, time.time()
        if champion.current is not None:
            info = GaugeMetricFamily("churn_serve_model_info", "The model in use.", labels=["version"])
            info.add_metric([champion.current.model.version], 1.0)
            yield info
            yield GaugeMetricFamily(
                "churn_serve_model_age_seconds",
                "Time since it is in use.",
                value=max(0.0, now - champion.current.since),
            )
        yield GaugeMetricFamily(
            "churn_serve_model_refused",
            "Whether the alias names a refused model.",
            value=float(champion.refused is not None),
        )
        if champion.looked_at is not None:
            yield GaugeMetricFamily(
                "churn_serve_last_good_look_timestamp_seconds",
                "Time of the last look at the registry that succeeded.",
                value=champion.looked_at,
            )
        if log is not None:
            rows = CounterMetricFamily("churn_serve_log_rows", "Rows of the log of requests.", labels=["result"])
            rows.add_metric(["written"], log.written)
            rows.add_metric(["dropped"], log.dropped)
            yield rows
            yield GaugeMetricFamily("churn_serve_log_waiting_rows", "Rows that wait to be written.", value=log.waiting)
