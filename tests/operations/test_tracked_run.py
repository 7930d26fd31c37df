"""A run ends once in MLflow, whoever ends it."""

import threading
from typing import Any

import mlflow
import pytest

from churn.operations.tracked_run import Status, TrackedRun

pytestmark = pytest.mark.usefixtures("tracking")


@pytest.fixture
def run() -> TrackedRun:
    run = TrackedRun()
    run.begin(mlflow.start_run().info.run_id)
    return run


def statuses() -> list[str]:
    return sorted(run.info.status for run in mlflow.MlflowClient().search_runs(["0"]))


@pytest.mark.parametrize("status", ["FINISHED", "FAILED", "KILLED"])
def test_the_first_end_counts(run: TrackedRun, status: Status) -> None:
    run.end(status)
    run.end("FAILED")
    run.end_within(5.0, "KILLED")
    assert mlflow.active_run() is None
    assert statuses() == [status]


def test_runs_inside_it_end_with_it(run: TrackedRun) -> None:
    mlflow.start_run(nested=True)
    run.end("KILLED")
    assert statuses() == ["KILLED", "KILLED"]


def test_it_is_ended_by_another_thread_unless_it_is_over(run: TrackedRun) -> None:
    active = mlflow.active_run()
    assert active is not None
    run.end_within(30.0, "KILLED")  # in a thread of its own
    assert statuses() == ["KILLED"]
    run.begin(active.info.run_id)
    run.end_within(30.0, "FAILED")
    assert statuses() == ["KILLED"]
    mlflow.end_run("KILLED")


def test_a_run_that_is_not_ours_stays_open() -> None:
    run = TrackedRun()
    run.begin(None)
    with mlflow.start_run():
        run.end("FAILED")
        assert statuses() == ["RUNNING"]


def test_last_words_are_bounded_and_may_be_in_vain(run: TrackedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    hangs = threading.Event()

    def refused(*_: Any) -> None:
        hangs.wait(30)
        raise ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "get_run", refused)
        run.end_within(0.05, "KILLED")
        hangs.set()
        run.end_within(30.0, "KILLED")
    assert statuses() == ["RUNNING"]
    run.end("FAILED")  # asked again, it is ended
    assert statuses() == ["FAILED"]
