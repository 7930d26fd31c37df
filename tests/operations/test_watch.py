"""What the watch does when: with tables, runs and a clock of the tests' own, and then with real ones."""

import contextlib
import itertools
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import psutil
import pytest

from churn.errors import ChurnError
from churn.operations.watch_project import LastKnown
from churn.operations.watch_state import alone
from churn.web.listening import check_installed
from churn.web.look_loop import LookLoop
from tests.conftest import Project, clean_environment, run_process
from tests.operations.watching import PATIENCE, watching
from tests.operations.worlds import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_table_is_taken_when_nothing_of_it_has_changed_for_a_while(world: World) -> None:
    assert world.later(0) is None
    world.files["training"] = {"a": "1"}
    assert world.later(60) == 10
    world.files["training"] = {"a": "2"}  # still being written
    assert world.later(6) == 10
    assert world.later(6) == 4
    assert not world.ran
    assert world.later(4) is None
    assert world.ran == ["training"]
    assert world.later(60) is None
    assert len(world.ran) == 1


def test_what_changes_while_it_runs_is_dealt_with_afterwards(world: World) -> None:
    world.files["inference"] = {"a": "1"}
    world.later(0)
    world.meanwhile = lambda: world.files.update(inference={"a": "1", "b": "2"})
    world.later(10)
    world.meanwhile = lambda: None
    assert world.later(1) == 10
    world.later(10)
    assert world.ran == ["inference"] * 2


def test_a_failure_is_tried_again_later_and_later_and_then_given_up(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.files["training"] = {"b": "1", "a": "1"}
    world.codes = [1, -9, 1]
    world.later(0)
    assert world.later(10) == 60
    assert world.later(59) == 1
    assert world.later(1) == 120
    world.restart()
    assert world.later(119) == 1
    assert world.later(1) is None
    assert len(world.ran) == 3
    (record,) = json.loads((world.folder / "dead_letters.json").read_text())
    assert (record["kind"], record["exit_code"], record["attempts"]) == ("training", 1, 3)
    assert record["made_of"] == ["a", "b"]
    assert "training was given up after 3 attempts" in caplog.text
    assert world.later(600) is None
    world.files["training"] = {"a": "2"}
    world.later(0)
    world.later(10)
    assert len(world.ran) == 4


def test_a_run_that_cannot_be_started_counts_as_an_attempt(world: World, caplog: pytest.LogCaptureFixture) -> None:
    def refuse() -> None:
        raise ChurnError("training cannot be started: no memory")

    world.files["training"] = {"a": "1"}
    world.meanwhile = refuse
    world.later(0)
    assert world.later(10) == 60
    world.restart()
    assert world.later(60) == 120
    world.later(120)
    (record,) = json.loads((world.folder / "dead_letters.json").read_text())
    assert (record["kind"], record["exit_code"], record["attempts"]) == ("training", None, 3)
    assert "no memory" in caplog.text
    world.meanwhile = lambda: None
    world.files["training"] = {"a": "2"}
    world.later(0)
    world.later(10)
    assert world.events[-1] == "training ok"


def test_while_it_stops_nothing_starts_and_no_attempt_is_lost(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.files["training"] = {"a": "1"}
    world.later(0)
    with monkeypatch.context() as stopping:
        stopping.setattr(world, "start", lambda *_: None)
        assert world.later(10) is None
    world.restart()
    world.later(0)
    assert world.events == ["training ok"]


def test_other_data_is_not_made_to_wait_for_what_failed(world: World) -> None:
    world.files["training"] = {"a": "1"}
    world.codes = [1]
    world.later(0)
    assert world.later(10) == 60
    world.files["training"] = {"a": "2"}
    assert world.later(5) == 10
    assert world.later(10) is None
    assert world.ran == ["training"] * 2


def test_published_but_not_tracked_is_done(world: World) -> None:
    world.files["inference"] = {"a": "1"}
    world.codes = [3]
    world.later(0)
    world.later(10)
    assert world.later(600) is None
    assert len(world.ran) == 1


def test_a_new_champion_scores_after_the_training(world: World) -> None:
    """The champion is among what scores are made of."""
    world.files |= {"training": {"a": "1"}, "inference": {}}
    world.meanwhile = lambda: world.files.update(inference={"b": "1", "(champion)": "1"})
    world.later(0)
    assert world.later(10) == 10
    assert world.ran == ["training"]
    assert world.later(10) is None
    assert world.ran == ["training", "inference"]
    world.files["training"] = {"a": "2"}
    world.later(0)
    world.later(10)
    assert world.ran[2:] == ["training"]


def test_what_was_stopped_is_not_done(world: World) -> None:
    world.files["training"] = {"a": "1"}
    world.codes = [None]
    world.later(0)
    world.later(10)
    world.restart()
    world.later(10)
    assert len(world.ran) == 2


def test_a_restart_goes_on_where_it_was(world: World) -> None:
    world.files["training"] = {"a": "1"}
    world.later(0)
    world.later(10)
    world.restart()
    assert world.later(60) is None
    assert len(world.ran) == 1


def test_the_champion_is_the_last_known_while_nobody_says_otherwise() -> None:
    answers: list[str | Exception | None] = [OSError("down"), None, "1", OSError("down"), "2"]

    def ask() -> str | None:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    champion = LastKnown(ask)
    with pytest.raises(OSError, match="down"):
        champion()
    assert [champion() for _ in range(4)] == [None, "1", "1", "2"]


class Looks:
    """Looks that a test lets go on one after the other."""

    def __init__(self) -> None:
        self.begun, self.ended = threading.Semaphore(0), threading.Semaphore(0)
        self.count = 0
        self.wait: float | None = None

    def __call__(self) -> float | None:
        self.count += 1
        self.begun.release()
        assert self.ended.acquire(timeout=30)
        return self.wait


@pytest.fixture
def looks() -> Iterator[tuple[Looks, Callable[[], None]]]:
    looks = Looks()
    loop = LookLoop(looks, 3600.0)
    loop.start()
    assert looks.begun.acquire(timeout=30)
    yield looks, loop.tell
    looks.wait = None
    loop.stop()
    looks.ended.release(1000)


def test_it_looks_every_while_and_again_after_a_look_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    done, at = threading.Event(), list[float]()

    def look() -> None:
        at.append(time.monotonic())
        if len(at) == 2:
            raise RuntimeError("no answer")
        if len(at) == 4:
            done.set()

    loop = LookLoop(look, 0.2)
    loop.start()
    assert done.wait(30)
    loop.stop()
    assert min(later - earlier for earlier, later in itertools.pairwise(at)) > 0.15
    assert "A look has failed, the next one tries again: no answer" in caplog.text


def test_a_look_that_took_longer_than_the_while_is_followed_by_one_at_once() -> None:
    begun, go_on = threading.Semaphore(0), threading.Semaphore(0)

    def look() -> None:
        begun.release()
        assert go_on.acquire(timeout=30)

    loop = LookLoop(look, 0.01)
    loop.start()
    assert begun.acquire(timeout=30)
    time.sleep(0.05)
    assert not begun.acquire(blocking=False)  # one at a time
    go_on.release()
    assert begun.acquire(timeout=30)
    loop.stop()
    go_on.release()


def test_a_stopped_watch_ends_with_the_look_that_goes_on() -> None:
    looks = Looks()
    looks.wait = 0.0
    loop = LookLoop(looks, 3600.0)
    before = set(threading.enumerate())
    loop.start()
    (thread,) = set(threading.enumerate()) - before
    assert looks.begun.acquire(timeout=30)
    loop.stop()
    loop.stop()
    assert thread.is_alive()
    looks.ended.release(2)
    thread.join(30)
    assert not thread.is_alive()
    assert looks.count == 1


def test_an_event_during_a_look_leads_to_another_one_and_many_to_one(looks: tuple[Looks, Callable[[], None]]) -> None:
    look, hint = looks
    look.ended.release()
    for expected in (2, 3, 4):
        hint()
        assert look.begun.acquire(timeout=30)  # goes on now, and may have listed already what comes next
        assert look.count == expected
        if expected < 4:
            look.ended.release()
    for _ in range(20):
        hint()
        time.sleep(0.01)
    look.ended.release()
    assert look.begun.acquire(timeout=30)
    look.ended.release(100)
    time.sleep(1)
    assert look.count <= 6


def test_a_look_that_wants_another_one_gets_it(looks: tuple[Looks, Callable[[], None]]) -> None:
    look, _ = looks
    look.wait = 0.0
    for _ in range(5):
        look.ended.release()
        assert look.begun.acquire(timeout=30)


def test_there_is_one_watch_at_a_time(tmp_path: Path) -> None:
    with alone(tmp_path), pytest.raises(ChurnError, match="churn watch is already running"), alone(tmp_path):
        pass
    with alone(tmp_path):
        pass


def test_what_is_not_installed_is_named() -> None:
    with pytest.raises(ChurnError, match="churn watch needs no_such_package: uv sync --extra watch"):
        check_installed("watch", ("json", "no_such_package"))


# --- with real runs ---------------------------------------------------------------------------------------------


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
