"""Runs in processes of their own, which keep their lock as long as they live."""

import json
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from churn.config import Notifications, Watch
from churn.errors import ChurnError
from churn.operations.kedro_job import Ended, KedroJob, Kind
from churn.operations.notifications import Notifier
from churn.operations.watch import Watcher
from churn.web.log_format import TRACE_ID
from tests.conftest import ROOT, clean_environment
from tests.operations.worlds import World

pytestmark = pytest.mark.e2e

PATIENCE = 60.0


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


class ScriptJob(KedroJob):
    """A job whose runs are short scripts."""

    def __init__(self, folder: Path, script: str = "pass") -> None:
        super().__init__([], folder=folder)
        self.script = script

    def command(self, kind: Kind) -> list[str]:
        return [sys.executable, "-c", self.script]


# A trigger of its own, whose run waits for a file.
TRIGGER = """
import sys, time
from pathlib import Path
from churn.config import Notifications, Watch
from churn.operations.notifications import Notifier
from churn.operations.watch import Watcher
from churn.operations.watch_state import alone
from tests.operations.test_kedro_job import ScriptJob, UNTIL
folder = Path(sys.argv[1])
with alone(folder):
    watcher = Watcher({"training": lambda: {"a": "1"}}, ScriptJob(folder, UNTIL.format(folder=folder)), Watch(quiet=0.0),
                      folder, Notifier(Notifications(), [], str(folder)))
    watcher.look()
    time.sleep(600)
"""


UNTIL = """
import os, pathlib, time
folder = pathlib.Path("{folder}")
(folder / ("began-" + str(os.getpid()))).touch()
while not (folder / "go-on").exists():
    time.sleep(0.02)
"""


def until(reached: Any) -> None:
    deadline = time.monotonic() + PATIENCE
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_run_keeps_its_lock_when_the_watch_is_killed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    killed = subprocess.Popen(
        [sys.executable, "-c", TRIGGER, str(tmp_path)],
        cwd=ROOT,
        env=clean_environment(),
        stdout=subprocess.DEVNULL,
    )
    until(lambda: list(tmp_path.glob("began-*")))
    (began,) = tmp_path.glob("began-*")
    child = psutil.Process(int(began.name.removeprefix("began-")))
    killed.kill()
    killed.wait()
    try:
        job = ScriptJob(tmp_path, UNTIL.format(folder=tmp_path))
        watcher = Watcher(
            {"training": lambda: {"a": "1"}},
            job,
            Watch(quiet=0.0, backoff=0.0),
            tmp_path,
            Notifier(Notifications(), [], str(tmp_path)),
        )
        for _ in range(5):
            watcher.look()
        assert child.is_running()
        assert len(list(tmp_path.glob("began-*"))) == 1
        assert watcher.running is not None
        assert "it goes on, and nothing else starts" in caplog.text
        woken: list[int] = []
        job.on_end = lambda: woken.append(1)
        (tmp_path / "go-on").touch()
        until(lambda: woken)  # by the end of a process that is not its child
        watcher.look()
        until(lambda: len(list(tmp_path.glob("began-*"))) == 2)
        assert watcher.wait()
        watcher.look()
        assert not watcher.state.of("training").waits
    finally:
        with suppress(psutil.NoSuchProcess):
            child.kill()
    assert not job.is_held()


def test_two_watches_never_run_at_once(tmp_path: Path) -> None:
    first, second = ScriptJob(tmp_path, "import time; time.sleep(600)"), ScriptJob(tmp_path)
    run = first.start("training", "a")
    assert run is not None
    assert second.left() is not None
    with pytest.raises(ChurnError, match="another run goes on"):
        second.start("inference", "b")
    first.stop()
    # By the interrupt, or by what follows it where the machine is slow.
    assert run.ended() in [Ended(code, stopped=True) for code in (1, -signal.SIGINT, -signal.SIGKILL)]
    assert second.left() is None
    done = second.start("inference", "b")
    assert done is not None
    done.wait()
    assert done.ended() == Ended(0)


def test_a_run_that_ignores_the_interrupt_is_ended_with_what_it_has_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("churn.operations.kedro_job.GRACE", 0.2)
    script = f"""
import pathlib, signal, subprocess, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path("{tmp_path}/part").write_text(str(other.pid))
pathlib.Path("{tmp_path}/part").rename("{tmp_path}/other")
time.sleep(600)
"""
    job = ScriptJob(tmp_path, script)
    run = job.start("training", "a")
    until((tmp_path / "other").exists)
    other = int((tmp_path / "other").read_text())
    job.stop()
    assert run is not None
    assert run.ended() == Ended(-signal.SIGKILL, stopped=True)
    until(lambda: not psutil.pid_exists(other) or psutil.Process(other).status() == psutil.STATUS_ZOMBIE)
    assert job.start("training", "b") is None


def test_a_run_knows_its_id(tmp_path: Path) -> None:
    job = ScriptJob(tmp_path, f"import os, sys; sys.exit(os.environ['{TRACE_ID}'] != 'abc')")
    run = job.start("training", "abc")
    assert run is not None
    run.wait()
    assert run.ended() == Ended(0)


def test_a_run_that_cannot_be_started_is_a_failed_attempt(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    job = KedroJob([], folder=world.folder)
    monkeypatch.setattr(job, "command", lambda _: ["/no/such/program"])
    world.watcher._job = job
    world.files["training"] = {"a": "1"}
    for _ in range(20):
        world.later(600)
    (letter,) = json.loads((world.folder / "dead_letters.json").read_text())
    assert letter["attempts"] == 3
    assert re.search("no exit code", world.watcher.given_up[0])


def test_commands() -> None:
    job = KedroJob(["--env", "minio"], "training.threads=2")
    assert job.command("monitoring")[3:] == [
        "run",
        "--env",
        "minio",
        "--pipelines",
        "monitoring",
        "--params",
        "training.threads=2",
    ]
    assert KedroJob([]).command("monitoring")[3:] == ["run", "--pipelines", "monitoring"]
    assert "training.threads=2,training.only_if_changed=true" in job.command("training")
