"""`kill -9`, and what must be true of a project afterwards; for tests and for `python -m tests.benchmarks.kills`."""

import hashlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.conftest import ROOT, Project, clean_environment
from tests.datasets.test_results import aged

# Seconds after which a process is considered stuck. Nothing here waits so long on any machine.
GENEROUS = 300.0
# MLflow's client of this process knows one server at a time.
_MLFLOW = threading.Lock()


def churn(project: Project, *arguments: str) -> list[str]:
    """Return a command of `churn` with the configuration of a project."""
    return [sys.executable, "-m", "churn", *arguments, "--conf-source", str(project.conf)]


def kedro_run(project: Project, pipelines: str | None = None, parameters: str = "") -> list[str]:
    """Return a `kedro run` with the configuration of a project; all pipelines by default."""
    command = [sys.executable, "-m", "kedro", "run", "--conf-source", str(project.conf)]
    chosen = ["--pipelines", pipelines] if pipelines else []
    return [*command, *chosen, *(["--params", parameters] if parameters else [])]


@contextmanager
def running(
    command: Sequence[str], output: Path, cwd: Path = ROOT, **environment: str
) -> "Iterator[subprocess.Popen[bytes]]":
    """Start a command as the leader of a process group, which is killed at the end of the block if it still runs."""
    with output.open("wb") as file:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env={**clean_environment(), **environment},
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        kill(process)


def kill(process: "subprocess.Popen[bytes]") -> bool:
    """Kill the group of a process that leads it; return whether this ended it, so that it had not ended before."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


def wait_until(reached: Callable[[], bool], process: "subprocess.Popen[Any]", pause: float = 0.001) -> None:
    """Wait for something, or for the end of the process that should do it; look again after a pause in seconds."""
    deadline = time.monotonic() + GENEROUS
    while not reached() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(pause)


def changed(folder: Path) -> Callable[[], bool]:
    """Return a function that tells whether anything in a folder was written since now."""

    def state() -> dict[Path, int]:
        found = {}
        for path in folder.rglob("*"):
            with suppress(OSError):  # gone in the meantime
                found[path] = path.stat().st_mtime_ns
        return found

    before = state()
    return lambda: state() != before


def age_leftovers(project: Project) -> None:
    """Make what a killed process has left look old, as if the next one came later: what is new may still have a writer."""
    for left in leftovers(project):
        for path in (*left.rglob("*"), left):
            with suppress(FileNotFoundError):  # of a run that goes on
                aged(path)


def age_everything(project: Project) -> None:
    """Make results and everything in MLflow look old, except the current results."""
    current = project.run_folder()
    for folder in project.results.iterdir():
        if folder.is_dir() and folder != current:
            aged(*folder.rglob("*"), folder)
    with closing(sqlite3.connect(project.folder / "mlflow-artifacts/mlflow.db")) as connection, connection:
        connection.execute("UPDATE runs SET start_time = start_time - 8640000000, end_time = end_time - 8640000000")
        connection.execute("UPDATE model_versions SET creation_time = creation_time - 8640000000")
        connection.execute("UPDATE logged_models SET creation_timestamp_ms = creation_timestamp_ms - 8640000000")


def leftovers(project: Project) -> list[Path]:
    """Return what only a process that was killed leaves: partly written files and folders."""
    found = [path for path in project.folder.rglob("*") if re.search(r"\.part(-\w+)?$|\.restoring$", path.name)]
    found += (project.folder / "cache").glob("restoring")
    found += (path for path in (project.folder / "cache/models").glob(".*") if path.is_dir())
    for folder in project.results.glob("*-*-*-*-*"):
        if folder.is_dir() and not (folder / "manifest.json").exists():
            found.append(folder)
    return sorted(found)


class Announced:
    """What the commands of a project have said to have published, and what finished commands have left."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self.runs: set[str] = set()
        self.sequence = 0
        self.champion = 0
        self.note()

    def note(self, output: str = "") -> None:
        """Note what a command has printed, which may have been killed later, and what is published now."""
        # The trigger's runs print it too. A killed command may have printed a part of the last line.
        self.runs |= set(re.findall(r"Scored: [^;]*; run ([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})", output))
        pointer = self._pointer()
        if pointer is not None:
            self.runs.add(pointer["run_id"])
            self.sequence = max(self.sequence, pointer["sequence"])
        self.champion = max(self.champion, self._champion())

    def forget(self) -> None:
        """Begin anew, where the place is emptied or replaced."""
        self.runs, self.sequence, self.champion = set(), 0, 0

    def lost(self) -> list[str]:
        """Return what is no longer there as it was announced: runs, the newer pointer, the later champion."""
        faults = [fault for run_id in sorted(self.runs) for fault in self._faults(run_id)]
        pointer = self._pointer()
        if pointer is None:
            faults += ["there is no latest.json any more, or it is damaged"] if self.sequence else []
        else:
            if pointer["sequence"] < self.sequence:
                faults.append(f"latest.json has sequence {pointer['sequence']}, and had {self.sequence}")
            faults += self._faults(pointer["run_id"])
        if (champion := self._champion()) < self.champion:
            faults.append(f"the champion is version {champion}, and was {self.champion}")
        return faults

    def _pointer(self) -> dict[str, Any] | None:
        try:
            pointer: dict[str, Any] = json.loads((self._project.results / "latest.json").read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        return pointer

    def _faults(self, run_id: str) -> list[str]:
        folder = self._project.results / run_id
        try:
            manifest = json.loads((folder / "manifest.json").read_text())
            return [
                f"{name} of the run {run_id} is not as its manifest says"
                for name, stored in manifest["files"].items()
                if hashlib.sha256((folder / name).read_bytes()).hexdigest() != stored["sha256"]
            ]
        except (OSError, ValueError) as error:
            return [f"the run {run_id}: {error}"]

    def _champion(self) -> int:
        found = asked(self._project, "SELECT version FROM registered_model_aliases WHERE alias = 'champion'")
        return max((int(version) for (version,) in found), default=0)


def faults_of_store(project: Project) -> list[str]:
    """Return why the next run could not use MLflow's database or the champion."""
    import mlflow

    from churn.registry.flavor import load_model

    database = project.folder / "mlflow-artifacts/mlflow.db"
    try:
        if (state := asked(project, "PRAGMA integrity_check")) != [("ok",)]:
            return [f"{database} is damaged: {state}"]
        # A copy of its own: MLflow keeps databases open, also those that were removed meanwhile.
        with _MLFLOW, tempfile.TemporaryDirectory() as folder:
            before = mlflow.get_tracking_uri()
            mlflow.set_tracking_uri(f"sqlite:///{shutil.copy(database, folder)}")
            try:
                mlflow.MlflowClient().search_experiments()
                load_model("models:/churn@champion")
            finally:
                mlflow.set_tracking_uri(before)
    except Exception as error:
        return [f"{type(error).__name__}: {error}"]
    return []


def litter(project: Project) -> list[str]:
    """Return what killed processes have left and the next one has not removed, and runs that MLflow lists as running."""
    found = [f"{path} is left" for path in leftovers(project)]
    going_on = asked(project, "SELECT run_uuid FROM runs WHERE status = 'RUNNING'")
    return [*found, *(f"MLflow lists the run {run_id} as running" for (run_id,) in going_on)]


def asked(project: Project, question: str) -> list[tuple[Any, ...]]:
    """Return what MLflow's database answers; nothing if there is none, or not yet such a table."""
    database = project.folder / "mlflow-artifacts/mlflow.db"
    with (
        suppress(sqlite3.OperationalError),
        closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as opened,
    ):
        return opened.execute(question).fetchall()
    return []
