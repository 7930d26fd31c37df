"""A `churn watch` of a process of its own, for the tests."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import ROOT, Project, telling_environment
from tests.stack import free_ports

TOKEN = "0123456789abcdef"
PATIENCE = 600.0


class RunningWatch:
    """The watch, its log, and what it says of itself."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int, log: Callable[[], str]) -> None:
        self._process, self._address, self.log = process, f"http://127.0.0.1:{port}", log
        self.process_id = process.pid
        # Seconds that its end took.
        self.took = 0.0

    def runs(self) -> dict[str, dict[str, Any]]:
        """What `/health` says of the runs; nothing while it starts."""
        try:
            answer: dict[str, dict[str, Any]] = requests.get(f"{self._address}/health", timeout=5).json()["runs"]
        except requests.ConnectionError:
            return {}
        return answer

    def metrics(self) -> dict[tuple[str, ...], float]:
        """What `/metrics` says: values by name and labels."""
        content = requests.get(f"{self._address}/metrics", timeout=60).text
        samples = (each for family in text_string_to_metric_families(content) for each in family.samples)
        return {(each.name, *each.labels.values()): each.value for each in samples}

    def tell(self) -> None:
        """Send an event."""
        answer = requests.post(f"{self._address}/events", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=5)
        assert answer.status_code == 202

    def until(self, reached: Callable[[], bool]) -> None:
        """Wait for something, and until nothing is waiting any more."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            assert self._process.poll() is None, self.log()
            runs = self.runs()
            if runs and reached() and not any(each["waiting"] for each in runs.values()):
                return
            time.sleep(0.2)
        raise AssertionError(self.log())


@contextmanager
def watching(
    project: Project,
    environment: str,
    *,
    checkout: Path = ROOT,
    ends: int = 0,
    variables: Mapping[str, str] | None = None,
    **settings: Any,
) -> Iterator[RunningWatch]:
    """Watch a project while the block runs, and end with SIGTERM as a service manager does.

    Args:
        project: What is watched.
        environment: Of Kedro; its parameters are set.
        checkout: Whose code runs.
        ends: The exit code at the end.
        variables: More variables of the environment.
        settings: More parameters.
    """
    (port,) = free_ports(1)
    settings_of_watch = {"poll": 300.0, "quiet": 0.5, "backoff": 0.5, "port": port}
    few = {"training": {"booster": {"n_estimators": 20}}, "promotion": {"margin": -1.0}}
    project.configure(environment, "parameters", {**few, "watch": settings_of_watch, **settings})
    file = project.folder / "watch.log"
    with file.open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "kedro", "watch", "--env", environment, "--conf-source", str(project.conf)],
            cwd=checkout,
            env=telling_environment() | {"CHURN_WATCH_TOKEN": TOKEN} | dict(variables or {}),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        watch = RunningWatch(process, port, file.read_text)
        try:
            yield watch
        finally:
            asked = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert process.wait(120) == ends, file.read_text()
            watch.took = time.monotonic() - asked
