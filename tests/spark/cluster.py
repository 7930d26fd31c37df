"""A standalone cluster and a Spark Connect server on this machine, of processes that the tests start and stop."""

import json
import os
import signal
import sys
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from churn.services.server import LOOPBACK, Server, is_free
from tests.spark.conftest import QUICK_JVM
from tests.stack import free_ports

# Of each executor, a worker's only one; Spark itself refuses less than 450.
EXECUTOR_MIB = 512


def _server(folder: Path, program: str, *options: str, **terms: Any) -> Server:
    """A process of Spark's own programs."""
    import pyspark

    home = Path(pyspark.__file__).parent
    return Server(
        name=folder.name,
        folder=folder,
        command=[str(home / "bin" / program), *options],
        environment={
            "SPARK_HOME": str(home),
            "SPARK_LOCAL_IP": LOOPBACK,
            "SPARK_LOCAL_DIRS": str(folder / "local"),
            "SPARK_DAEMON_MEMORY": "512m",
            "SPARK_DAEMON_JAVA_OPTS": QUICK_JVM,
            "PYSPARK_PYTHON": sys.executable,
        },
        **terms,
    )


class Cluster:
    """A master and its workers, each with one core.

    A worker is one process group, to which its executors belong.
    """

    def __init__(self, folder: Path, workers: int, memory: int = EXECUTOR_MIB) -> None:
        """Declare where the logs and files of the processes lie, how many workers there are, and MiB of their executors."""
        master_port, self._page, *pages = free_ports(2 + workers)
        self.url = f"spark://{LOOPBACK}:{master_port}"
        self._master = _server(
            folder / "master",
            "spark-class",
            "org.apache.spark.deploy.master.Master",
            *("--host", LOOPBACK, "--port", str(master_port), "--webui-port", str(self._page)),
            ready=lambda: self._state() is not None,
            ports=(master_port, self._page),
        )
        self._workers = [
            _server(
                folder / f"worker-{number}",
                "spark-class",
                "org.apache.spark.deploy.worker.Worker",
                *("--host", LOOPBACK, "--webui-port", str(page), "--cores", "1"),
                *("--memory", f"{memory}m", "--work-dir", str(folder / f"worker-{number}"), self.url),
                ready=partial(self._has_worker, page),
                ports=(page,),
            )
            for number, page in enumerate(pages)
        ]

    def _state(self) -> dict[str, Any] | None:
        """What the master says of itself, if it answers."""
        try:
            with urllib.request.urlopen(f"http://{LOOPBACK}:{self._page}/json/", timeout=5) as answer:
                return json.load(answer)
        except (OSError, ValueError):  # while it starts, it answers with a page
            return None

    def _has_worker(self, page: int) -> bool:
        workers = (self._state() or {}).get("workers", [])
        return any(worker["webuiaddress"].endswith(f":{page}") and worker["state"] == "ALIVE" for worker in workers)

    def start(self) -> None:
        """Start those that do not run, and wait until the master has its workers."""
        self._master.start()
        with ThreadPoolExecutor() as threads:
            list(threads.map(Server.start, self._workers))

    def stop(self) -> None:
        for server in (*self._workers, self._master):
            server.stop()

    def worker_of(self, application: str, executor: str) -> Server:
        """The worker on which an executor runs."""
        return next(worker for worker in self._workers if (worker.folder / application / executor).is_dir())


def lose(worker: Server) -> None:
    """End a worker and its executors at once, as if their machine was switched off."""
    process = worker.process_id()
    assert process is not None
    os.killpg(process, signal.SIGKILL)
    os.waitpid(process, 0)


@contextmanager
def running_cluster(folder: Path, workers: int, memory: int = EXECUTOR_MIB) -> Iterator[Cluster]:
    """A cluster as long as the block runs."""
    cluster = Cluster(folder, workers, memory)
    with ExitStack() as stack:
        stack.callback(cluster.stop)
        cluster.start()
        yield cluster


def connect_server(folder: Path) -> tuple[Server, str]:
    """A Spark Connect server that computes on this machine, not started yet, and its address."""
    (port,) = free_ports(1)
    settings = {
        "spark.connect.grpc.binding.address": LOOPBACK,
        "spark.connect.grpc.binding.port": port,
        "spark.ui.enabled": "false",
        "spark.driver.extraJavaOptions": QUICK_JVM,
        "spark.sql.shuffle.partitions": 2,
        "spark.sql.warehouse.dir": folder / "warehouse",
    }
    server = _server(
        folder / "connect",
        "spark-submit",
        *("--class", "org.apache.spark.sql.connect.service.SparkConnectServer", "--master", "local[2]"),
        *(word for name, value in settings.items() for word in ("--conf", f"{name}={value}")),
        "spark-internal",
        ready=lambda: not is_free(port),
        ports=(port,),
    )
    return server, f"sc://{LOOPBACK}:{port}"
