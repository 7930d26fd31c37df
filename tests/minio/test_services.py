"""The commands behind make env, make services and make services-down."""

import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from churn.errors import ChurnError, FaultsError
from churn.services.postgres import postgres, postgres_programs, socket_folder
from churn.services.server import Server, is_free
from churn.services.settings import ServiceSettings, port_of, variables_of, write_env
from churn.stores import open_store
from tests.conftest import ROOT, run_process
from tests.stack import free_ports


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with the example, which PostgreSQL's account reaches too."""
    folder = Path(tempfile.mkdtemp(prefix="churn-services-"))
    folder.chmod(0o755)
    shutil.copy(ROOT / ".env.example", folder)
    yield folder
    command(folder, "clean")
    shutil.rmtree(socket_folder(folder / ".services"), ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_process(sys.executable, "-m", "churn.services", *arguments, cwd=folder, timeout=180)


@pytest.mark.e2e
def test_env_writes_keys_of_its_own_for_its_owner_alone(folder: Path) -> None:
    done = command(folder, "env")
    assert done.returncode == 0, done.stderr
    file = folder / ".env"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    first = variables_of(folder)
    settings = ServiceSettings.read({name: first[name] for name in first if name not in os.environ})
    identities = [settings.training, settings.scoring, settings.tracking, settings.admin]
    assert len({each.access_key for each in identities}) == len({each.secret_key for each in identities}) == 4
    assert all(len(each.secret_key) == 48 for each in identities)
    assert (settings.username, settings.password) == ("", "")
    again = command(folder, "env")
    assert again.returncode == 1
    assert f"Error: {folder}/.env exists already and was not changed" in again.stderr
    content = file.read_text()
    file.unlink()
    assert command(folder, "env", "--with-password").returncode == 0
    assert re.search(r"^MLFLOW_TRACKING_USERNAME=churn\nMLFLOW_TRACKING_PASSWORD=\S{20,}$", file.read_text(), re.M)
    keys = re.compile(r"_KEY=(\S+)$", re.M)
    assert not set(keys.findall(content)) & set(keys.findall(file.read_text()))


def test_settings_that_are_missing_come_together() -> None:
    with pytest.raises(FaultsError) as caught:
        ServiceSettings.read({"CHURN_TRAINING_ACCESS_KEY": "x", "MLFLOW_TRACKING_USERNAME": "churn"})
    message = str(caught.value)
    assert "CHURN_TRAINING_SECRET_KEY is not set" in message
    assert "POSTGRES_PASSWORD is not set" in message
    assert "CHURN_TRAINING_ACCESS_KEY" not in message
    assert "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD" in message


@pytest.mark.parametrize("address", ["http://10.0.0.1:9000", "https://127.0.0.1:9000", "http://127.0.0.1", ""])
def test_servers_are_started_on_this_machine_only(address: str) -> None:
    with pytest.raises(ChurnError, match="servers are started on this machine only"):
        port_of(address, "CHURN_S3_ENDPOINT")


@pytest.mark.e2e
def test_what_is_not_running_is_not_stopped(folder: Path) -> None:
    assert command(folder, "status").returncode == 1
    down = command(folder, "down")
    assert (down.returncode, down.stdout) == (0, "No server was running.\n")


def test_a_process_that_took_the_number_is_not_stopped(tmp_path: Path) -> None:
    server = Server(name="other", folder=tmp_path, command=[], ready=lambda: True)
    (tmp_path / "other.pid").write_text(f'{{"process": {os.getpid()}, "started": "long ago", "stop_signal": 15}}')
    assert server.process_id() is None
    assert not server.stop()


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("import sys; print('no such luck'); sys.exit(3)", r"ended with code 3. Its last lines:\n  no such luck"),
        (
            "import time; print('still at it', flush=True); time.sleep(60)",
            r"is not ready after 1 seconds.*\n  still at it",
        ),
    ],
)
def test_a_server_that_does_not_get_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, said: str
) -> None:
    monkeypatch.setattr("churn.services.server.START_TIMEOUT", 1.0)
    server = Server("lame", tmp_path, [sys.executable, "-c", program], ready=lambda: False)
    with pytest.raises(ChurnError, match=said):
        server.start()
    assert server.process_id() is None


def test_a_server_that_does_not_want_to_end_is_made_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("churn.services.server.STOP_TIMEOUT", 0.5)
    program = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); open('up', 'w'); time.sleep(60)"
    server = Server("deaf", tmp_path, [sys.executable, "-c", program], ready=(tmp_path / "up").exists)
    assert server.start()
    process = server.process_id()
    assert process is not None
    assert server.stop()
    assert server.process_id() is None
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_without_postgresql(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shutil.copy(ROOT / ".env.example", tmp_path)
    write_env(tmp_path)
    settings = ServiceSettings.read({k: v for k, v in variables_of(tmp_path).items() if k not in os.environ})
    monkeypatch.setattr("churn.services.postgres.postgres_programs", lambda: None)
    with pytest.raises(ChurnError, match="PostgreSQL is not installed here"):
        postgres(tmp_path, settings)


@pytest.mark.slow
@pytest.mark.e2e
def test_up_and_down(folder: Path) -> None:
    s3, taken, tracking = free_ports(3)
    addresses = {"CHURN_S3_ENDPOINT": f"http://127.0.0.1:{s3}", "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{taken}"}
    write_env(folder, **addresses)
    with socket.socket() as other:
        other.bind(("127.0.0.1", taken))
        other.listen()
        refused = command(folder, "up")
    assert refused.returncode == 1
    assert f"Error: mlflow: port {taken} of 127.0.0.1 is used by another program; stop it" in refused.stderr
    assert is_free(s3)  # all or none
    file = folder / ".env"
    file.write_text(file.read_text().replace(str(taken), str(tracking)))

    up = command(folder, "up")
    assert up.returncode == 0, up.stderr
    assert f"S3        http://127.0.0.1:{s3}  SeaweedFS" in up.stdout
    has_postgres = postgres_programs() is not None
    assert ("PostgreSQL, on a socket in" in up.stdout) == has_postgres
    assert ("SQLite instead of PostgreSQL: PostgreSQL is not installed here" in up.stdout) != has_postgres
    assert f"MLflow    http://127.0.0.1:{tracking}  MLflow" in up.stdout
    assert requests.get(f"http://127.0.0.1:{tracking}/health", timeout=5).status_code == 200
    status = command(folder, "status")
    assert status.returncode == 0
    assert re.search(r"^mlflow +runs as process \d+, log .services/mlflow.log$", status.stdout, re.M)
    assert command(folder, "up").returncode == 0  # they run already

    known = {name: value for name, value in variables_of(folder).items() if name not in os.environ}
    scoring = ServiceSettings.read(known).scoring
    credentials = {
        "key": scoring.access_key,
        "secret": scoring.secret_key,
        "client_kwargs": {"endpoint_url": f"http://127.0.0.1:{s3}"},
    }
    open_store("s3://ml-result/kept.json", credentials).write_json({"kept": True})
    down = command(folder, "down")
    assert down.returncode == 0
    assert down.stdout.startswith("Stopped mlflow, ")
    assert is_free(s3)
    assert is_free(tracking)
    assert command(folder, "up").returncode == 0
    assert open_store("s3://ml-result/kept.json", credentials).read_json() == {"kept": True}
    file.write_text(re.sub(r"^POSTGRES_PASSWORD=.*$", "POSTGRES_PASSWORD=another-one", file.read_text(), flags=re.M))
    if has_postgres:
        command(folder, "down")
        changed = command(folder, "up")
        assert changed.returncode == 1
        assert "PostgreSQL was set up with another POSTGRES_PASSWORD than .env has now" in changed.stderr
    assert command(folder, "clean").returncode == 0
    assert not (folder / ".services").exists()
