"""`kill -9` of the trigger and of its runs at random moments: never two runs at once, and nothing is lost."""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from churn.config import Notifications, Watch
from churn.operations.notifications import Notifier
from churn.operations.watch import Watcher
from churn.operations.watch_state import alone
from tests.conftest import ROOT, clean_environment
from tests.operations.test_kedro_job import ScriptJob

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

KILLS = int(os.environ.get("CHURN_WATCH_KILLS", "8"))
SEED = int(os.environ.get("CHURN_WATCH_SEED", "7"))
PATIENCE = 120.0

TRIGGER = """
import sys, time
from pathlib import Path
from tests.operations.test_watch_kills import watcher_of
from churn.operations.watch_state import alone
folder = Path(sys.argv[1])
with alone(folder):
    (folder / "ready").touch()
    watcher = watcher_of(folder)
    while True:
        watcher.look()
        time.sleep(0.01)
"""
# A run: it notes whom it meets, works for a while, and notes the version that it has done.
RUN = """
import os, pathlib, time
folder = pathlib.Path("{folder}")
version = (folder / "version").read_text()
mine = folder / ("run-" + str(os.getpid()))
mine.touch()
for other in folder.glob("run-*"):
    if other != mine and os.path.exists("/proc/" + other.name[4:]):
        state = open("/proc/" + other.name[4:] + "/stat").read().rsplit(")", 1)[1].split()[0]
        if state not in "ZX":
            (folder / "met").touch()
time.sleep(0.15)
with (folder / "done").open("a") as file:
    file.write(version + "\\n")
mine.unlink()
"""


def watcher_of(folder: Path) -> Watcher:
    """A trigger whose only input is a file with a version."""
    # Many attempts: those that kills have ended count, too.
    settings = Watch(quiet=0.0, backoff=0.0, attempts=1_000)
    notifier = Notifier(Notifications(events=()), [], str(folder))
    job = ScriptJob(folder, RUN.format(folder=folder))
    return Watcher({"training": lambda: {"a": (folder / "version").read_text()}}, job, settings, folder, notifier)


def test_kills_at_random_moments_lead_to_no_second_run_and_lose_nothing(tmp_path: Path) -> None:
    chance = random.Random(SEED)

    def runs() -> list[psutil.Process]:
        found = []
        for file in tmp_path.glob("run-*"):
            with suppress(psutil.Error):
                process = psutil.Process(int(file.name.removeprefix("run-")))
                if process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    for number in range(KILLS):
        (tmp_path / "part").write_text(str(number))
        (tmp_path / "part").replace(tmp_path / "version")
        (tmp_path / "ready").unlink(missing_ok=True)
        trigger = subprocess.Popen(
            [sys.executable, "-c", TRIGGER, str(tmp_path)],
            cwd=ROOT,
            env=clean_environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + PATIENCE
        while not (tmp_path / "ready").exists():
            assert trigger.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.005)
        time.sleep(chance.random() * 0.5)
        if chance.random() < 0.3:
            for run in runs():
                with suppress(psutil.NoSuchProcess):
                    run.kill()
        trigger.send_signal(signal.SIGKILL)
        trigger.wait()

    with alone(tmp_path):
        watcher = watcher_of(tmp_path)
        deadline = time.monotonic() + PATIENCE
        while True:
            watcher.look()
            if not watcher.wait() and not watcher.state.of("training").waits:
                break
            assert time.monotonic() < deadline
    assert not (tmp_path / "met").exists()
    done = (tmp_path / "done").read_text().split()
    assert done[-1] == str(KILLS - 1)
    assert done == sorted(done, key=int)
    assert not list(tmp_path.glob("*.damaged-*"))
    assert not list(tmp_path.glob(".*.part")), "left by a kill during a write"
