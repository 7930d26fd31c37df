"""The servers that the tests run against: real ones, on loopback, started and stopped by the tests."""

import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import yaml
from dotenv import dotenv_values

from churn.errors import ChurnError
from churn.services import server as starting
from churn.services.minio import minio, provision_minio
from churn.services.mlflow import mlflow_server
from churn.services.postgres import database_uri, postgres, socket_folder
from churn.services.seaweedfs import seaweedfs
from churn.services.server import Server
from churn.services.server import free_ports as ports_of_services
from churn.services.settings import ENV_FILE, Identity, ServiceSettings, write_env
from tests.conftest import ROOT, Project, make_project

# Seconds; a machine may be busy with other tests.
starting.START_TIMEOUT = 300.0
# Which S3 server: make test-minio sets it.
STORE = os.environ.get("CHURN_TEST_STORE", "seaweedfs")


WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
# How many stacks this process has: their servers start later, and until then their ports look free.
STACKS = itertools.count()


def free_ports(count: int) -> list[int]:
    """Free ports, for which no other stack or worker looks. The numbers 10,000 above them are SeaweedFS's too."""
    return ports_of_services(count, 21_000 + 500 * (WORKER % 18) + os.getpid() % 200 + 40 * (next(STACKS) % 7))


class Stack:
    """An S3 store, a database and MLflow in a folder of their own, each started when it is first asked for."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.folder = folder
        shutil.copy(ROOT / ".env.example", folder)
        s3, tracking = free_ports(2)
        write_env(
            folder,
            CHURN_S3_ENDPOINT=f"http://127.0.0.1:{s3}",
            MLFLOW_TRACKING_URI=f"http://127.0.0.1:{tracking}",
            **variables,
        )
        # From the file alone: runs in this process leave variables of MLflow behind.
        self.variables = dotenv_values(folder / ENV_FILE)
        self.settings = ServiceSettings.read(self.variables)
        self._running: list[Server] = []

    @cached_property
    def s3(self) -> Server:
        """The store, with buckets and identities."""
        server = (minio if STORE == "minio" else seaweedfs)(self.folder, self.settings)
        self._start(server)
        if STORE == "minio":
            provision_minio(self.settings)
        return server

    @cached_property
    def database(self) -> Server | None:
        """PostgreSQL; ``None`` where the machine has none."""
        try:
            server = postgres(self.folder, self.settings)
        except ChurnError:
            return None
        self._start(server)
        return server

    @cached_property
    def mlflow(self) -> Server:
        """MLflow on both."""
        assert self.s3
        uri = f"sqlite:///{self.folder}/mlflow.db"
        if self.database is not None:
            uri = database_uri(self.folder, self.settings)
        server = mlflow_server(self.folder, self.settings, uri)
        self._start(server)
        return server

    def _start(self, server: Server) -> None:
        server.start()
        self._running.append(server)

    def stop(self) -> None:
        for server in reversed(self._running):
            server.stop()

    def credentials(self, identity: Identity, endpoint: str | None = None) -> dict[str, Any]:
        """Credentials of an identity, as in credentials.yml."""
        return {
            "key": identity.access_key,
            "secret": identity.secret_key,
            "client_kwargs": {"endpoint_url": endpoint or self.settings.endpoint, "region_name": "us-east-1"},
        }

    def project(self, folder: Path, *, buckets: str = "", **variables: str) -> Project:
        """A small project whose environment ``minio`` leads to these servers.

        Args:
            folder: Where its configuration and its local files lie.
            buckets: A prefix inside the buckets, so that tests do not meet each other.
            variables: Other values of the ``.env``.
        """
        project = make_project(folder, baselines=False)
        text = "".join(f"{name}={value}\n" for name, value in {**self.variables, **variables}.items())
        (folder / ".env").write_text(text)
        content = yaml.safe_load((project.conf / "minio/globals.yml").read_text())
        content["stores"] |= {"reports": str(folder / "reports"), "cache": str(folder / "cache")}
        if buckets:
            for name in ("staging", "results"):
                content["stores"][name] = f"{content['stores'][name]}/{buckets}"
            content["stores"]["metrics"] = f"{content['stores']['staging']}/training"
            content["model"] = {"name": f"churn_{buckets}", "experiment": f"churn_model_{buckets}"}
        project.configure("minio", "globals", content)
        known = yaml.safe_load((project.conf / "local/parameters.yml").read_text())
        project.configure("minio", "parameters", known)
        return project


def start_stack(**variables: str) -> Iterator[Stack]:
    """The servers for a session of tests, in a folder that PostgreSQL's account reaches; variables go to their .env."""
    folder = Path(tempfile.mkdtemp(prefix="churn-tests-"))
    folder.chmod(0o755)
    stack = Stack(folder, **variables)
    try:
        yield stack
    finally:
        stack.stop()
        shutil.rmtree(socket_folder(folder), ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    yield from start_stack()
