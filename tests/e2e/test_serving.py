"""`churn serve` as a process: it starts, answers, follows the champion and its tokens, keeps its log through a kill, gives way to
another process, and ends in peace."""

import json
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pytest
import requests
from pyarrow import parquet

from churn.model import ChurnModel
from churn.model.calibration import Calibration
from churn.registry.flavor import load_model, log_model
from churn.registry.versions import find_version
from tests.conftest import ROOT, Project, clean_environment
from tests.stack import free_ports

pytestmark = pytest.mark.e2e

TOKEN, OTHER = "0123456789abcdef", "fedcba9876543210"
PATIENCE = 120.0
# As systemd starts a process: the socket is descriptor 3.
HAND_OVER = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.execve(sys.argv[2], sys.argv[2:], {**os.environ, "LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())})
"""


class Running:
    """A service, and what it says."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
        self.process, self.url, self._log = process, f"http://127.0.0.1:{port}", log
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {TOKEN}"

    def until(self, reached: Any) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            with suppress(requests.ConnectionError, requests.ReadTimeout):
                if reached():
                    return
            assert self.process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.05)

    @property
    def said(self) -> str:
        """Its log, in one line."""
        return " ".join(self._log.read_text().split())

    def is_ready(self) -> bool:
        return requests.get(f"{self.url}/readyz", timeout=2).status_code == 200

    def score(self, rows: list[dict[str, Any]], session: requests.Session | None = None) -> Any:
        answer = (session or self.session).post(f"{self.url}/v1/score", json={"rows": rows}, timeout=PATIENCE)
        assert answer.status_code == 200, answer.text
        return answer.json()


@contextmanager
def serving(project: Project, listening: socket.socket | None = None, **settings: Any) -> Iterator[Running]:
    """A service; with a socket, it is handed that as systemd hands one."""
    port = listening.getsockname()[1] if listening else free_ports(1)[0]
    parameters = ",".join(
        f"serve.{name.replace('__', '.')}={value}" for name, value in {"port": port, **settings}.items()
    )
    log = project.folder / f"serve-{uuid.uuid4().hex[:8]}.log"
    command = [sys.executable, "-m", "churn", "serve", "--conf-source", str(project.conf), "--params", parameters]
    if listening:
        command = [sys.executable, "-c", HAND_OVER, str(listening.fileno()), *command]
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            pass_fds=[listening.fileno()] if listening else [],
            cwd=ROOT,
            env={**clean_environment(), "CHURN_SERVE_TOKEN": TOKEN},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    running = Running(process, port, log)
    try:
        running.until(running.is_ready)
        yield running
    finally:
        for each in [*psutil.Process(process.pid).children(recursive=True)] if process.poll() is None else []:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        process.kill()
        process.wait()


def alias_to(model: ChurnModel) -> str:
    """Register a model if it is new, and make it the champion."""
    if find_version("churn", model.sha256) is None:
        with mlflow.start_run():
            log_model(model, registered_model_name="churn")
    entry = find_version("churn", model.sha256)
    assert entry is not None
    mlflow.MlflowClient().set_registered_model_alias("churn", "champion", str(entry.version))
    return str(entry.version)


@pytest.fixture
def trained(project: Project) -> Iterator[tuple[Project, list[ChurnModel]]]:
    """A project with scores, and two models of which the first is the champion."""
    project.run("data_generation", "feature_engineering", "training", "inference")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{project.folder}/mlflow-artifacts/mlflow.db")
    one = load_model("models:/churn@champion")
    yield project, [one, replace(one, threshold=0.01, source=None)]
    mlflow.set_tracking_uri(before)


def rows_of(project: Project, count: int) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    table = pd.read_csv(project.staging / "inference_data.csv", dtype={"account_id": str}).head(count)
    return table, [
        {name: None if pd.isna(value) else value for name, value in row.items()} for row in table.to_dict("records")
    ]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_service_from_start_to_end(trained: tuple[Project, list[ChurnModel]], workers: int) -> None:
    project, models = trained
    table, rows = rows_of(project, 20)
    expected = {"1": models[0].score(table)}
    settings: dict[str, Any] = {"workers": workers, "poll": 0.2, "drain": 0.5}
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        serving(project, listening, **settings) as running,
    ):
        assert requests.post(f"{running.url}/v1/score", json={"rows": rows}, timeout=PATIENCE).status_code == 401
        content = running.score(rows)
        assert content["model"]["version"] == "1"
        scores = np.float32([score["probability"] for score in content["scores"]])
        assert scores.tobytes() == expected["1"]["probability"].to_numpy().tobytes()
        running.until(
            lambda: (
                running.session.get(f"{running.url}/v1/accounts/{rows[0]['account_id']}", timeout=PATIENCE).status_code
                == 200
            )
        )

        # Under load, the champion moves there and back: no answer fails or mixes versions.
        failures, seen, ends = list[str](), set[str](), threading.Event()

        def load(keeps: bool) -> None:
            """Ask on one connection, or on a new one for each request."""
            with requests.Session() as session:
                session.headers["Authorization"] = f"Bearer {TOKEN}"
                while not ends.is_set():
                    if not keeps:
                        session.close()
                    try:
                        content = running.score(rows, session)
                        version = content["model"]["version"]
                        seen.add(version)
                        if [score["prediction"] for score in content["scores"]] != expected[version][
                            "prediction"
                        ].tolist():
                            failures.append(version)
                    except Exception as error:
                        failures.append(repr(error))

        expected["2"] = replace(models[1]).score(table)
        assert expected["2"]["prediction"].tolist() != expected["1"]["prediction"].tolist()
        threads = [threading.Thread(target=load, args=(keeps,)) for keeps in (True, True, False)]
        for thread in threads:
            thread.start()
        for model in (models[1], models[0], models[1]):
            version = alias_to(model)
            fresh = [requests.Session() for _ in range(6)]  # of all workers
            for session in fresh:
                session.headers["Authorization"] = f"Bearer {TOKEN}"
            running.until(
                lambda version=version, fresh=fresh: all(
                    running.score(rows[:1], session)["model"]["version"] == version for session in fresh
                )
            )
            for session in fresh:
                session.close()
        # One that scores its canary rows in another way is refused by all workers, and told once.
        refused = alias_to(replace(models[0], calibration=Calibration("sigmoid", 1.1, 0.0), source=None))
        told = f"Champion refused: Version {refused} of the model is refused by churn serve, version 2 stays in use"
        running.until(lambda: {_refused(running) for _ in range(6)} == {refused} and told in running.said)
        alias_to(models[1])
        running.until(lambda: {_refused(running) for _ in range(6)} == {None})
        assert running.said.count(told) == 1

        # Tokens follow the credentials.
        tokens = {"default": {"token": TOKEN}, "crm": {"token": OTHER, "scopes": ["read"]}}
        assert _status(running, OTHER) == 401
        project.configure("local", "credentials", {"serve": {"tokens": tokens}})
        running.until(lambda: {_status(running, OTHER) for _ in range(6)} == {200})  # all workers
        running.process.send_signal(signal.SIGHUP)

        # Another process begins on the same socket, then this one ends: what was accepted is answered.
        with serving(project, listening, **settings) as follower:
            follower.until(lambda: follower.said.count("Version 2 is in use") >= workers)
            running.process.send_signal(signal.SIGTERM)
            assert running.process.wait(PATIENCE) == 0
            follower.until(lambda: follower.score(rows)["model"]["version"] == "2")
            ends.set()
            for thread in threads:
                thread.join()
            follower.process.send_signal(signal.SIGTERM)
            assert follower.process.wait(PATIENCE) == 0
        assert failures == []
        assert seen == {"1", "2"}
    logged = [parquet.read_table(file) for file in (project.results / "requests").rglob("*.parquet")]
    assert set(pa.concat_tables(logged)["model_version"].to_pylist()) == {"1", "2"}

    if workers > 1:
        return
    # The log is judged; the same accounts were asked for again and again.
    today = next(project.results.glob("requests/*")).name
    project.run("monitoring", monitoring={"source": "requests", "requests_day": today, "requests_version": 2})
    health = json.loads((project.results / "requests" / today / "health_metrics.json").read_text())
    assert (health["total_samples"], health["provenance"]["model_version"]) == (20, "2")


def _refused(running: Running) -> str | None:
    refused = requests.get(f"{running.url}/readyz", timeout=PATIENCE).json().get("refused")
    return refused and str(refused["version"])


def _status(running: Running, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    return requests.get(f"{running.url}/v1/model", headers=headers, timeout=PATIENCE).status_code


def test_a_kill_loses_a_second_at_most_and_leaves_whole_files(trained: tuple[Project, list[ChurnModel]]) -> None:
    project, _ = trained
    _, rows = rows_of(project, 5)
    folder = project.results / "requests"
    with serving(project, log__seconds=0.2) as running:
        for _ in range(10):
            running.score(rows)
        running.until(lambda: sum(parquet.read_metadata(file).num_rows for file in folder.rglob("*.parquet")) == 50)
        running.score(rows)
        running.process.kill()
        running.process.wait()
    found = sum(parquet.read_table(file).num_rows for file in folder.rglob("*.parquet"))
    assert found in (50, 55)
    with serving(project) as again:
        assert again.score(rows)["scores"]


def test_without_a_registry_it_starts_with_the_copy(trained: tuple[Project, list[ChurnModel]]) -> None:
    project, _ = trained
    _, rows = rows_of(project, 2)
    project.configure("local", "mlflow", {"server": {"mlflow_tracking_uri": mlflow.get_tracking_uri()}})
    with serving(project) as running:
        expected = running.score(rows)["scores"]
    database = project.folder / "mlflow-artifacts/mlflow.db"
    database.write_bytes(b"damaged" * 1000)
    # The commands of the project refuse it; a worker that is started again does not even ask.
    from churn.serving.champion import Champion, ModelRegistry

    registry = ModelRegistry("models:/churn@champion", str(project.folder / "cache/models"), mlflow.get_tracking_uri())
    copy = registry.copy()
    assert copy is not None
    champion = Champion(registry, copy.schema)
    champion.begin()
    champion.look()
    assert champion.error
    assert [score.probability for score in champion.require().model.score_rows(rows)] == [
        score["probability"] for score in expected
    ]
