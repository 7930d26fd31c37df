"""Projects on real servers: S3, PostgreSQL and MLflow, started by the tests."""

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest

from churn.cli.commands import user_error
from churn.stores import Store, open_store
from tests.conftest import ROOT, Project, telling_environment
from tests.proxy import FaultyProxy
from tests.stack import Stack, stack

__all__ = ["stack"]


@pytest.fixture(autouse=True)
def _own_mlflow(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a run in this process tells MLflow about its server is taken back."""
    before = mlflow.get_tracking_uri()
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    yield
    mlflow.set_tracking_uri(before)
    mlflow.set_registry_uri(None)
    os.environ.pop("MLFLOW_TRACKING_URI", None)  # MLflow has set it


@pytest.fixture
def proxy(stack: Stack) -> Iterator[FaultyProxy]:
    """Between the project and the S3 store."""
    with FaultyProxy(stack.s3.ports[0]) as proxy:
        yield proxy


class MinioProject:
    """A small project on the servers, with a part of each bucket for itself."""

    def __init__(self, stack: Stack, folder: Path, **variables: str) -> None:
        self.stack = stack
        self.name = f"t{uuid.uuid4().hex[:8]}"
        self.project: Project = stack.project(folder, buckets=self.name, **variables)
        self.folder = folder

    def set(self, **variables: str) -> None:
        """Change variables of the .env."""
        file = self.folder / ".env"
        file.write_text(file.read_text() + "".join(f"{name}={value}\n" for name, value in variables.items()))

    def run(self, *pipelines: str, **params: Any) -> None:
        """Run pipelines in this process."""
        self.project.run(*pipelines, env="minio", **params)

    def refused(self, *pipelines: str, **params: Any) -> str:
        """The message with which a run in this process ends."""
        with pytest.raises(Exception) as caught:  # noqa: PT011  (the message is what is asserted)
            self.run(*pipelines, **params)
        message = user_error(caught.value)
        assert message is not None, caught.value
        return message

    def kedro(self, *pipelines: str, params: str = "") -> "subprocess.CompletedProcess[str]":
        """Run pipelines in a process of its own."""
        chosen = ("--pipelines", ",".join(pipelines)) if pipelines else ()
        return self.project.kedro("run", "--env", "minio", *chosen, *(("--params", params) if params else ()))

    def start(self, *pipelines: str, params: str = "") -> "subprocess.Popen[str]":
        """Begin to run pipelines in a process of its own."""
        options = ("--params", params) if params else ()
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "kedro", "run", "--conf-source", str(self.project.conf), "--env", "minio"),
                *("--pipelines", ",".join(pipelines), *options),
            ],
            cwd=ROOT,
            env=telling_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def bucket(self, name: str) -> Store:
        """This project's part of a bucket, as the administrator sees it."""
        return open_store(f"s3://{name}/{self.name}", self.stack.credentials(self.stack.settings.admin))

    @property
    def results(self) -> Store:
        return self.bucket(self.stack.settings.results)

    @property
    def staging(self) -> Store:
        return self.bucket(self.stack.settings.staging)

    def latest(self) -> str:
        """The run that the pointer names."""
        run_id: str = self.results.read_json("latest.json")["run_id"]
        return run_id

    def manifest(self) -> dict[str, Any]:
        """The manifest of the current results."""
        manifest: dict[str, Any] = self.results.read_json(f"{self.latest()}/manifest.json")
        return manifest

    @property
    def client(self) -> mlflow.MlflowClient:
        return mlflow.MlflowClient(tracking_uri=self.stack.settings.tracking_uri)

    def run_statuses(self) -> list[str]:
        """Statuses of the runs in MLflow, the newest first."""
        experiment = self.client.get_experiment_by_name(f"churn_model_{self.name}")
        assert experiment is not None
        return [run.info.status for run in self.client.search_runs([experiment.experiment_id])]


@pytest.fixture
def fresh(stack: Stack, tmp_path: Path) -> MinioProject:
    """A project that has not run yet."""
    assert stack.mlflow
    return MinioProject(stack, tmp_path)


@pytest.fixture(scope="session")
def trained(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> MinioProject:
    """A project after a whole run; the tests share it and leave it as good as they found it."""
    assert stack.mlflow
    project = MinioProject(stack, tmp_path_factory.mktemp("trained"))
    done = project.kedro()
    assert done.returncode == 0, done.stdout + done.stderr
    return project
