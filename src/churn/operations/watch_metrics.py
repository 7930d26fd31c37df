"""The metrics of `churn watch` in the format of Prometheus. A value that is not known is absent."""

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, get_args

from churn.config.health import SEVERITY
from churn.operations.kedro_job import KINDS, Kind
from churn.operations.watch import Result, Watcher

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

# Upper limits of durations, in seconds: from a run that has nothing to do to one of a night.
DURATIONS = (5, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 28800)


def metrics_of(watcher: Watcher, clock: Callable[[], float]) -> "CollectorRegistry":
    """Return the metrics of a trigger, whose `Watcher.on_end` is set to count its runs.

    Args:
        watcher: The trigger.
        clock: Returns the seconds since 1970.
    """
    from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector

    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    runs = Counter("churn_runs", "Runs that have ended, by kind and result.", ["kind", "result"], registry=registry)
    duration = Histogram(
        "churn_run_duration_seconds", "Duration of runs.", ["kind"], buckets=DURATIONS, registry=registry
    )
    for kind in KINDS:
        duration.labels(kind)
        for result in get_args(Result):
            runs.labels(kind, result)

    def ended(kind: Kind, result: Result, seconds: float) -> None:
        runs.labels(kind, result).inc()
        duration.labels(kind).observe(seconds)

    watcher.on_end = ended
    registry.register(_Present(watcher, clock))
    return registry


class _Present:
    """What is known at the moment of the question."""

    def __init__(self, watcher: Watcher, clock: Callable[[], float]) -> None:
        self._watcher, self._clock = watcher, clock

    def describe(self) -> list[Any]:
        """Return nothing: names are not looked up at the registration."""
        return []

    def collect(self) -> "Iterator[Metric]":
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        watcher, now = self._watcher, self._clock()
        looks = CounterMetricFamily("churn_looks", "Looks at the inputs, by result.", labels=["result"])
        looks.add_metric(["ok"], watcher.looks.good)
        looks.add_metric(["failed"], watcher.looks.bad)
        yield looks
        pending = GaugeMetricFamily("churn_pending_runs", "Changes that no run has handled yet.", labels=["kind"])
        running = GaugeMetricFamily("churn_running", "Whether a run goes on, by kind.", labels=["kind"])
        going_on = watcher.running
        for kind in KINDS:
            pending.add_metric([kind], float(watcher.state.of(kind).waits))
            running.add_metric([kind], float(going_on is not None and going_on.kind == kind))
        yield pending
        yield running

        published, seen = watcher.published, watcher.state.scores
        values: list[tuple[str, str, float | None]] = [
            (
                "churn_last_good_look_timestamp_seconds",
                "Time of the last look that succeeded.",
                watcher.looks.last_good,
            )
        ]
        if published is not None:
            since = seen.since if seen is not None and seen.run_id == published.run_id else None
            values += [
                ("churn_scores_age_seconds", "Age of the current scores.", _age(since, now)),
                (
                    "churn_champion_age_seconds",
                    "Time since the champion was trained.",
                    _age(published.champion_since, now),
                ),
                ("churn_scored_rows", "Accounts in the current scores.", published.rows),
                (
                    "churn_health_status",
                    "Health of the current scores: 0 ok, 1 warning, 2 alarm.",
                    SEVERITY.get(published.health or ""),
                ),
                ("churn_alarms", "Alarms of the health report on the current scores.", published.alarms),
            ]
        for name, meaning, value in values:
            if value is not None and math.isfinite(value):
                yield GaugeMetricFamily(name, meaning, value=value)


def _age(since: float | None, now: float) -> float | None:
    return None if since is None else max(0.0, now - since)
