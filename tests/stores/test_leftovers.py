"""What interrupted writes leave in a bucket and on a disk, and how it is told from what is still being written."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import churn.stores.s3 as s3_module
from churn.stores import Store
from churn.stores.local import LocalStore
from churn.stores.s3_client import client_of
from tests.conftest import clean_environment
from tests.stack import Stack

WRITING = """
import sys, time
from churn.stores.local import LocalStore
with LocalStore(sys.argv[1]).working("run"), LocalStore(sys.argv[1]).writing("run/a.csv") as file:
    file.write(b"x")
    print("writing", flush=True)
    time.sleep(600)
"""


def aged(folder: Path) -> None:
    for path in [folder, *folder.rglob("*")]:
        os.utime(path, (1_600_000_000, 1_600_000_000))


@pytest.mark.e2e
def test_what_a_process_writes_is_left_alone_until_it_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WRITING, str(tmp_path)], stdout=subprocess.PIPE, env=clean_environment()
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        aged(tmp_path)
        store = LocalStore(str(tmp_path))
        assert store.abandoned("manifest.json") == []
        assert store.unfinished() == {}
        store.write_json({}, "run/a.csv")  # another writer of the same file leaves it alone too
        assert len(list((tmp_path / "run").glob(".*.part"))) == 1
        process.send_signal(signal.SIGKILL)
    aged(tmp_path)
    assert store.abandoned("manifest.json") == ["run"]
    (name,) = store.unfinished()
    store.remove_unfinished(name)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["a.csv"]
    store.discard("run")
    assert store.names() == []


def test_what_has_just_begun_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/.a.csv.0.part").write_bytes(b"x")
    store = LocalStore(str(tmp_path))
    assert store.abandoned("manifest.json") == []
    assert store.unfinished() == {}


def test_without_locks_a_day_of_silence_is_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("churn.stores.occupied._fcntl", None)
    part = tmp_path / ".a.csv.0.part"
    part.write_bytes(b"x")
    store = LocalStore(str(tmp_path))
    for hours, left in ((23, 0), (25, 1)):
        then = time.time() - 3600 * hours
        os.utime(part, (then, then))
        assert len(store.unfinished()) == left


def test_objects_and_their_times(store: Store) -> None:
    store.write_json({}, "run/a.json")
    store.write_json({}, "run2/a.json")
    assert set(store.entries()) == {"run/a.json", "run2/a.json"}
    (entry,) = store.entries("run").values()
    assert entry.bytes == 3
    assert abs(entry.modified - store.now()) < 60
    store.remove("run/a.json")
    store.remove("run/a.json")
    assert set(store.entries()) == {"run2/a.json"}
    store.discard("run2")
    assert store.names() == []


def test_uploads_that_nobody_finishes(store: Store, stack: Stack, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, _, prefix = place.removeprefix("s3://").partition("/")
    client = client_of(stack.credentials(stack.settings.scoring))
    made = client.create_multipart_upload(Bucket=name, Key=f"{prefix}/run/a.csv")
    client.upload_part(Bucket=name, Key=f"{prefix}/run/a.csv", PartNumber=1, Body=b"x" * 100, UploadId=made["UploadId"])
    assert store.unfinished() == {}  # it may go on
    now = store.now()
    monkeypatch.setattr(s3_module.S3Store, "now", lambda self: now + 2 * 86_400)
    ((found, entry),) = store.unfinished().items()
    assert found == f"run/a.csv?{made['UploadId']}"
    assert entry.bytes == 100
    store.remove_unfinished(found)
    store.remove_unfinished(found)
    assert store.unfinished() == {}
