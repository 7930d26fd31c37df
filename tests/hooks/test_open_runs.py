"""Runs that MLflow believes to be running, and which of them are over."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
import requests
from mlflow.exceptions import MlflowException

from churn.hooks.open_runs import OpenRuns, first_line, is_no_answer, why_absent
from churn.services.process import started_at
from tests.stack import free_ports


@pytest.fixture
def other() -> Iterator[int]:
    """The number of another process, which runs."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process.pid
        process.kill()


@pytest.mark.usefixtures("tracking")
@pytest.mark.parametrize(
    ("note", "status"),
    [
        ({}, "RUNNING"),  # as version 0.1 wrote it: the number alone tells
        ({"started": 0}, "RUNNING"),
        ({"started": -3600}, "FAILED"),  # another process has taken the number since
        ({"process": 0}, "FAILED"),
        ({"process": os.getpid()}, "FAILED"),  # of an earlier container, where the number is always the same
        ({"tracking_uri": "http://elsewhere"}, "RUNNING"),
    ],
)
def test_runs_whose_process_is_gone_are_closed(
    tmp_path: Path, other: int, note: dict[str, object], status: str
) -> None:
    uri = mlflow.get_tracking_uri()
    client = mlflow.MlflowClient()
    run_id = client.create_run("0").info.run_id
    if "started" in note:
        note = {"started": (started_at(other) or 0) + int(str(note["started"]))}
    folder = tmp_path / "runs"
    folder.mkdir()
    (folder / f"{run_id}.json").write_text(json.dumps({"tracking_uri": uri, "process": other, **note}))
    OpenRuns(folder, uri).close_stale()
    assert client.get_run(run_id).info.status == status
    assert (folder / f"{run_id}.json").exists() == (status == "RUNNING")


def test_a_note_says_when_the_process_started(tmp_path: Path) -> None:
    runs = OpenRuns(tmp_path / "runs", "sqlite:///x.db")
    runs.opened("a")
    runs.left_open("b")
    noted = {file.stem: json.loads(file.read_text()) for file in (tmp_path / "runs").iterdir()}
    started = started_at(os.getpid())
    made = {"tracking_uri": "sqlite:///x.db", "process": os.getpid(), "started": started, "experiment": None}
    assert noted["a"] == made
    assert noted["b"]["process"] == 0
    runs.closed("a")
    runs.closed("a")
    assert [file.stem for file in (tmp_path / "runs").iterdir()] == ["b"]


@pytest.mark.usefixtures("tracking")
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"\xff\xfe\x00",
        b'{"process": 1}',
        b'{"tracking_uri": null, "process": 1}',
        b'{"tracking_uri": "x", "process": "many"}',
        b'{"tracking_uri": "x", "process": -1}',
        b'{"tracking_uri": "x", "process": 99999999999999999999}',
        b'{"tracking_uri": "x", "process": 1, "started": NaN}',
    ],
)
def test_a_damaged_note_ends_nothing_and_hides_no_other(tmp_path: Path, content: bytes) -> None:
    client = mlflow.MlflowClient()
    folder = tmp_path / "runs"
    folder.mkdir()
    run_id = client.create_run("0").info.run_id
    (folder / "0.json").write_bytes(content)
    runs = OpenRuns(folder, mlflow.get_tracking_uri())
    runs.left_open(run_id)
    runs.close_stale()
    assert client.get_run(run_id).info.status == "FAILED"
    assert not list(folder.glob("*.json"))


@pytest.mark.usefixtures("tracking")
@pytest.mark.parametrize("name", ["0" * 32, "not an id"])
def test_notes_of_runs_that_mlflow_does_not_know_are_removed(tmp_path: Path, name: str) -> None:
    runs = OpenRuns(tmp_path / "runs", mlflow.get_tracking_uri())
    runs.left_open(name)
    runs.close_stale()
    assert not list((tmp_path / "runs").glob("*"))


@pytest.mark.usefixtures("tracking")
def test_a_folder_that_cannot_be_written_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("no folder can be made here")
    runs = OpenRuns(tmp_path / "file/runs", mlflow.get_tracking_uri())
    runs.opened("a")
    runs.close_stale()
    runs.closed("a")
    assert len(caplog.records) == 1


KILLED = """
import os, sys
import mlflow
from pathlib import Path
from churn.hooks.open_runs import OpenRuns, first_line, is_no_answer, why_absent
mlflow.set_tracking_uri(sys.argv[2])
with OpenRuns(Path(sys.argv[1]), sys.argv[2]).opening("0"):
    mlflow.start_run(experiment_id="0")
    print(mlflow.active_run().info.run_id, flush=True)
    os.kill(os.getpid(), 9)
"""


@pytest.mark.e2e
@pytest.mark.usefixtures("tracking")
def test_a_run_whose_process_is_killed_while_mlflow_makes_it_is_closed(tmp_path: Path) -> None:
    uri, client = mlflow.get_tracking_uri(), mlflow.MlflowClient()
    other = client.create_run("0").info.run_id
    command = [sys.executable, "-c", KILLED, str(tmp_path / "runs"), uri]
    run_id = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout.strip()
    assert client.get_run(run_id).info.status == "RUNNING"
    OpenRuns(tmp_path / "runs", uri).close_stale()
    assert client.get_run(run_id).info.status == "FAILED"
    assert client.get_run(other).info.status == "RUNNING"
    assert not list((tmp_path / "runs").glob("*.json"))


@pytest.mark.usefixtures("tracking")
@pytest.mark.parametrize("tags", [None, '{"mine": "1"}', "no JSON", "[]"])
def test_tags_of_the_user_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tags: str | None) -> None:
    if tags is not None:
        monkeypatch.setenv("MLFLOW_RUN_CONTEXT", tags)
    runs = OpenRuns(tmp_path / "runs", mlflow.get_tracking_uri())
    with runs.opening("0"):
        run = mlflow.start_run(experiment_id="0")
        mlflow.end_run()
        runs.close_stale()
        assert len(list((tmp_path / "runs").glob("opening-*"))) == 1
    assert mlflow.get_run(run.info.run_id).data.tags.get("mine") == ("1" if tags and "mine" in tags else None)
    assert os.environ.get("MLFLOW_RUN_CONTEXT") == tags
    assert not list((tmp_path / "runs").glob("*.json"))


@pytest.mark.usefixtures("tracking")
def test_a_run_that_may_have_been_made_although_it_failed_stays_noted(tmp_path: Path) -> None:
    runs = OpenRuns(tmp_path / "runs", mlflow.get_tracking_uri())
    with pytest.raises(TimeoutError), runs.opening("0"):
        raise TimeoutError
    runs.close_stale()
    (note,) = (tmp_path / "runs").glob("opening-*.json")
    assert json.loads(note.read_text())["experiment"] == "0"


def caused_by(cause: Exception) -> Exception:
    try:
        raise ValueError("of the caller") from cause
    except ValueError as error:
        return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (requests.ConnectionError("refused"), True),
        (TimeoutError(), True),
        (caused_by(ConnectionResetError()), True),
        (MlflowException("API request to /runs/create failed with timeout"), True),
        (MlflowException("API request to /runs/create was refused"), False),
        (MlflowException("the run does not exist"), False),
        (caused_by(KeyError("x")), False),
    ],
)
def test_no_answer_is_told_from_a_refusal(error: Exception, expected: bool) -> None:
    assert is_no_answer(error) == expected


def test_a_database_needs_no_answer_and_a_server_does() -> None:
    assert why_absent("sqlite:///x.db") is None
    address = f"http://127.0.0.1:{free_ports(1)[0]}"
    assert str(why_absent(address)).startswith(f"MLflow at {address} does not answer: ")
    assert first_line(ValueError("a\nb")) == "a"
    assert first_line(ValueError()) == "ValueError"
