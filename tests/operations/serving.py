"""The HTTP side of a watch, for the tests."""

import asyncio
import contextlib
import threading
import time
from pathlib import Path
from typing import Any

import requests
from prometheus_client.parser import text_string_to_metric_families

from churn.config import Notifications, Watch
from churn.operations.kedro_job import KedroJob, Kind
from churn.operations.notifications import Notifier
from churn.operations.watch import Watcher
from churn.operations.watch_facts import Facts
from churn.operations.watch_metrics import metrics_of
from churn.operations.watch_server import application, serve, server_of
from churn.web.http_guard import Connections, Rates
from churn.web.listening import listen
from tests.operations.watching import TOKEN

# Far above what is waited for, for machines that are busy.
PATIENCE = 60.0


class Service:
    """A server as `churn watch` starts it, with its watcher."""

    def __init__(
        self,
        folder: Path,
        token: str = TOKEN,
        host: str = "127.0.0.1",
        most: int = 64,
        rates: Rates | None = None,
    ) -> None:
        self.files: dict[Kind, dict[str, str]] = {"training": {}}
        self.facts = Facts()
        self.now = 1000.0
        self.fails: Exception | None = None
        self.hints: list[int] = []
        self.fault: str | None = None
        notifier = Notifier(Notifications(), [], str(folder), lambda: self.now)
        self.watcher = Watcher(
            {"training": self.list},
            KedroJob([]),
            Watch(quiet=1e6),
            folder,
            notifier,
            lambda: self.now,
            lambda: self.facts,
        )
        self.connections = Connections(most)
        registry = metrics_of(self.watcher, lambda: self.now)
        app = application(
            token,
            lambda: self.hints.append(1),
            self.watcher,
            fault=lambda: self.fault,
            registry=registry,
            rates=rates or Rates(burst=1e9),
            clock=lambda: self.now,
        )
        self.server = server_of(app, self.connections)
        listening = listen(host, 0)
        self.port = listening.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self.port}"
        self.thread = threading.Thread(
            target=lambda: asyncio.run(serve(self.server, listening, lambda: None)), daemon=True
        )
        self.thread.start()
        until(lambda: self.server.started)

    def list(self) -> dict[str, str]:
        if self.fails:
            raise self.fails
        return self.files["training"]

    def look(self) -> None:
        with contextlib.suppress(Exception):
            self.watcher.look()

    def get(self, path: str) -> requests.Response:
        return requests.get(f"{self.url}{path}", timeout=PATIENCE)

    def metrics(self) -> dict[tuple[str, ...], float]:
        found = {}
        for family in text_string_to_metric_families(self.get("/metrics").text):
            for sample in family.samples:
                found[(sample.name, *sample.labels.values())] = sample.value
        return found

    def close(self) -> None:
        self.server.should_exit = True
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()


def until(reached: Any) -> None:
    deadline = time.monotonic() + PATIENCE
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.01)
