"""New objects in a bucket lead to a champion and to scores, with no hand on it."""

import asyncio
import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from churn.config import Notifications, Watch
from churn.operations.kedro_job import KedroJob
from churn.operations.notifications import Notifier
from churn.operations.watch import Watcher
from churn.operations.watch_server import application, serve, server_of
from churn.services.buckets import s3_client
from churn.services.minio import provision_minio
from churn.stores import open_store
from churn.web.http_guard import Connections
from churn.web.listening import listen
from tests.minio.conftest import MinioProject
from tests.operations.watching import TOKEN, watching
from tests.stack import STORE, free_ports, start_stack

pytestmark = [pytest.mark.slow, pytest.mark.e2e]


def test_a_new_object_is_trained_on_and_scored_and_the_same_again_is_not(fresh: MinioProject) -> None:
    minio = fresh
    minio.run("data_generation", simulation__training_rows=3000, simulation__scoring_rows=1000)
    with minio.staging.reading("training_data.csv") as file:
        content = file.read()

    def put(data: bytes) -> None:
        with minio.staging.writing("training_data.csv") as file:
            file.write(data)

    def scored_with() -> str | None:
        return str(minio.manifest()["model"]["version"]) if minio.results.exists("latest.json") else None

    name = f"churn_{minio.name}"
    with watching(minio.project, "minio") as watch:
        watch.until(lambda: scored_with() == "1")
        first = minio.latest()
        assert minio.client.get_model_version_by_alias(name, "champion").version == "1"

        put(content)
        watch.tell()
        watch.until(lambda: True)
        assert minio.latest() == first

        table = pd.read_csv(io.BytesIO(content), dtype=str)
        put(table.head(2900).to_csv(index=False).encode())
        watch.tell()
        watch.until(lambda: scored_with() == "2")
        champion = minio.client.get_model_version_by_alias(name, "champion")
        assert champion.version == "2"
        assert champion.tags["promotion"] == "promoted"
        assert len(minio.client.search_model_versions(f"name = '{name}'")) == 2


@contextmanager
def listening(port: int, folder: Path, hints: list[float]) -> Iterator[None]:
    """What `churn watch` answers with, on a real server."""
    watcher = Watcher({}, KedroJob([]), Watch(), folder, Notifier(Notifications(), [], str(folder)))
    app = application(TOKEN, lambda: hints.append(time.monotonic()), watcher)
    server = server_of(app, Connections(64))
    taken = listen("127.0.0.1", port)
    thread = threading.Thread(target=lambda: asyncio.run(serve(server, taken, lambda: None)), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield
    server.should_exit = True
    thread.join()


def test_the_store_itself_tells_of_new_objects(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    events = {"CHURN_WATCH_TOKEN": TOKEN, "CHURN_WATCH_EVENTS": f"http://127.0.0.1:{port}/events"}
    for stack in start_stack(**events):
        assert stack.s3
        admin = stack.credentials(stack.settings.admin)
        staging = open_store(f"s3://{stack.settings.staging}", admin)
        artifacts = open_store(f"s3://{stack.settings.artifacts}", admin)
        # Nobody listens: the object is there all the same.
        staging.write_json({}, "early.json")
        hints: list[float] = []
        with listening(port, tmp_path, hints):
            deadline = time.monotonic() + 60
            while not hints:  # a store may wait a little after a failure
                staging.write_json({}, "new.json")
                time.sleep(0.5)
                assert time.monotonic() < deadline
            time.sleep(2)
            before = len(hints)
            artifacts.write_json({}, "model.json")
            time.sleep(2)
            assert len(hints) == before


@pytest.mark.skipif(STORE != "minio", reason="for MinIO; make test-minio runs it where its binary is on the PATH")
def test_provisioning_again_with_another_wish(tmp_path: Path) -> None:
    for stack in start_stack(CHURN_WATCH_TOKEN=TOKEN):
        assert stack.s3
        client = s3_client(stack.settings, stack.settings.admin)

        def told() -> list[str]:
            known = client.get_bucket_notification_configuration(Bucket=stack.settings.staging)  # noqa: B023
            return [queue["Id"] for queue in known.get("QueueConfigurations", [])]

        assert told() == ["churn"]
        provision_minio(stack.settings)
        assert told() == ["churn"]
        provision_minio(replace(stack.settings, watch_token=""))
        assert told() == []
