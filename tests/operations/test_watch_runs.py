"""The trigger with real runs: new data, new champions, outcomes, and what ends it."""

import contextlib
import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest

from tests.conftest import Project, clean_environment, run_process
from tests.operations.watching import PATIENCE, watching


def published(project: Project) -> str | None:
    file = project.results / "latest.json"
    return str(json.loads(file.read_text())["run_id"]) if file.exists() else None


def version_of(project: Project) -> str:
    return str(json.loads((project.run_folder() / "manifest.json").read_text())["model"]["version"])


@pytest.mark.slow
@pytest.mark.e2e
def test_new_data_is_trained_on_and_scored_with_no_hand_on_it(project: Project, checkout: Path) -> None:
    project.run("data_generation")
    source = project.staging / "training_data.csv"
    state = project.folder / "cache/watch/state.json"

    def looked_at() -> float:
        return float(json.loads(state.read_text())["training"]["since"])

    with watching(project, "local", checkout=checkout) as watch:
        watch.until(lambda: published(project) is not None)
        first, before = published(project), looked_at()
        assert version_of(project) == "1"

        # The same again: looked at, and nothing made of it.
        os.utime(source)
        watch.tell()
        watch.until(lambda: looked_at() > before)
        assert published(project) == first
        assert "Nothing changed: version 1" in " ".join(watch.log().split())

        table = pd.read_csv(source, dtype=str)
        table.head(len(table) - 100).to_csv(source, index=False)
        for _ in range(3):  # events that come several times
            watch.tell()
        watch.until(lambda: published(project) != first)
        assert version_of(project) == "2"
        assert "data: 1 file changed; -100 rows" in " ".join(watch.log().split())

        second = published(project)
        with (checkout / "src/churn/model/encoder.py").open("a") as file:
            file.write("\n\nCHANGED = True\n")
        watch.tell()
        watch.until(lambda: "since version 2: code: model/encoder.py." in " ".join(watch.log().split()))
        # It came out as the same model.
        assert published(project) == second

    # Another parameter, with the next start.
    with watching(project, "local", checkout=checkout, training={"booster": {"n_estimators": 21}}) as watch:
        watch.until(lambda: published(project) != second)
        assert version_of(project) == "3"
        assert "parameters: training.booster.n_estimators 20 -> 21" in " ".join(watch.log().split())


@pytest.mark.e2e
def test_one_look_runs_what_is_to_be_run(project: Project) -> None:
    project.run("data_generation")
    project.configure("local", "parameters", {"training": {"booster": {"n_estimators": 20}}, "watch": {"quiet": 0.0}})
    seen = []
    for _ in range(2):
        done = project.kedro("watch", "--once", "--conf-source", str(project.conf))
        assert done.returncode == 0, done.stdout + done.stderr
        seen.append(published(project))
    assert seen[0] is not None
    assert seen[0] == seen[1]

    # What was given up is told by the exit code too, and by then only.
    table = project.staging / "training_data.csv"
    table.write_text(table.read_text() + "x\n")
    done = project.kedro("watch", "--once", "--conf-source", str(project.conf), "--params", "watch.attempts=1")
    assert done.returncode == 1
    assert "Error: training was given up after 1 attempts, the last with exit code 1" in done.stderr
    assert published(project) == seen[1]
    assert project.kedro("watch", "--once", "--conf-source", str(project.conf)).returncode == 0


@pytest.mark.slow
@pytest.mark.e2e
def test_one_id_leads_from_the_trigger_to_mlflow_and_outcomes_are_monitored(project: Project) -> None:
    project.run("data_generation")
    outcomes = project.staging / "inference_outcomes.csv"
    known = outcomes.read_text()
    outcomes.unlink()
    with watching(project, "local", variables={"CHURN_LOG_FORMAT": "json"}) as watch:
        watch.until(lambda: ("churn_scores_age_seconds",) in watch.metrics())
        report = project.run_folder() / "health_metrics.json"
        assert json.loads(report.read_text())["realised_performance"] is None
        metrics = watch.metrics()
        assert metrics["churn_runs_total", "training", "ok"] == 1
        assert metrics["churn_runs_total", "monitoring", "ok"] == 0
        assert metrics["churn_scored_rows",] == 1000
        assert 0 <= metrics["churn_scores_age_seconds",] <= PATIENCE
        assert 0 <= metrics["churn_champion_age_seconds",] <= PATIENCE

        outcomes.write_text(known)
        watch.tell()
        watch.until(lambda: watch.metrics()["churn_runs_total", "monitoring", "ok"] == 1)
        assert json.loads(report.read_text())["realised_performance"]["coverage"] == 1.0
        assert watch.metrics()["churn_health_status",] in (0, 1, 2)
    ids = {}
    for line in watch.log().splitlines():
        if line.startswith("{") and (entry := json.loads(line)).get("trace_id"):
            ids.setdefault(entry["trace_id"], set()).add(entry["logger"])
    assert len(ids) == 3
    for loggers in ids.values():  # of the trigger, and of its runs
        assert "churn.operations.watch" in loggers
        assert len(loggers) > 1
    import mlflow

    runs = mlflow.MlflowClient(f"sqlite:///{project.folder}/mlflow-artifacts/mlflow.db").search_runs(["1"])
    assert ids.keys() <= {run.data.tags.get("trace_id") for run in runs}


@pytest.mark.slow
@pytest.mark.e2e
def test_a_stopped_watch_ends_the_run_that_is_going_on(project: Project) -> None:
    project.run("data_generation", simulation__training_rows=100_000)
    with watching(project, "local", training={"booster": {"n_estimators": 2000, "learning_rate": 0.001}}) as watch:
        deadline = time.monotonic() + PATIENCE
        # What comes next, the models of the folds, takes minutes.
        while "Completed node: Feature engineering.encode_train_accounts" not in watch.log():
            assert time.monotonic() < deadline, watch.log()
            time.sleep(0.2)
        threads = Path(f"/proc/{watch.process_id}/task").glob("*/children")
        (child,) = (int(number) for thread in threads for number in thread.read_text().split())
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
    # Five seconds on a machine with nothing else to do.
    assert watch.took < 30
    assert json.loads((project.folder / "cache/watch/state.json").read_text())["training"]["handled"] is None


@pytest.mark.slow
@pytest.mark.e2e
def test_a_watch_that_was_killed_during_a_training_does_not_train_beside_it(project: Project) -> None:
    project.run("data_generation", simulation__training_rows=20_000)

    def trainings() -> list[psutil.Process]:
        found = {}
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                line = " ".join(process.cmdline())
                if "feature_engineering,training" in line and str(project.conf) in line:
                    found[process.pid] = process.ppid(), process
        # A training that is about to start another program has a child with its own command line for a moment.
        return [process for parent, process in found.values() if parent not in found]

    many = {"booster": {"n_estimators": 200, "learning_rate": 0.02}}
    with watching(project, "local", ends=-signal.SIGKILL, training=many) as watch:
        deadline = time.monotonic() + PATIENCE
        while "Completed node: Feature engineering.encode_train_accounts" not in watch.log():
            assert time.monotonic() < deadline, watch.log()
            time.sleep(0.1)
        os.kill(watch.process_id, signal.SIGKILL)
    (left,) = trainings()
    with watching(project, "local", training=many) as watch:
        deadline = time.monotonic() + PATIENCE
        while "it goes on, and nothing else starts" not in " ".join(watch.log().split()):
            assert time.monotonic() < deadline, watch.log()
            time.sleep(0.1)
        most = 0

        def reached() -> bool:
            nonlocal most
            most = max(most, len(trainings()))
            return published(project) is not None

        watch.until(reached)
        assert most == 1
        assert not left.is_running()
        # What it had trained is used; the same was not trained again.
        assert version_of(project) == "1"
        assert "Nothing changed: version 1" in " ".join(watch.log().split())


@pytest.mark.e2e
def test_a_port_that_is_taken_is_told(project: Project) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        project.configure("local", "parameters", {"watch": {"port": taken.getsockname()[1]}})
        done = project.kedro("watch", "--conf-source", str(project.conf))
    assert done.returncode == 1
    assert "watch.port = " in done.stderr
    assert "Address already in use" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.e2e
def test_a_token_that_is_too_short_is_refused(project: Project) -> None:
    done = run_process(
        sys.executable,
        "-m",
        "kedro",
        "watch",
        "--conf-source",
        str(project.conf),
        env=clean_environment() | {"CHURN_WATCH_TOKEN": "short"},
        timeout=120,
    )
    assert done.returncode == 1
    assert "CHURN_WATCH_TOKEN has fewer than 16 characters" in done.stderr
    assert "Traceback" not in done.stderr
