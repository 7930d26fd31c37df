"""Processes that are told from others of the same number, and that end with all that they started."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from churn.services.process import end, is_running, started_at
from churn.services.server import Server

# Starts a process of its own, which does not want to end, says its number, and waits.
PARENT = """
import signal, subprocess, sys, time
deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
child = subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(600)
"""


def test_a_process_that_is_there_and_one_that_is_not() -> None:
    mine = started_at(os.getpid())
    assert mine is not None
    assert 0 <= time.time() - mine < 24 * 3600
    assert is_running(os.getpid(), mine)
    assert not is_running(os.getpid(), mine - 60)
    with subprocess.Popen([sys.executable, "-c", ""]) as short:
        os.waitid(os.P_PID, short.pid, os.WEXITED | os.WNOWAIT)
        assert started_at(short.pid) is None  # over, though nobody has collected it
    assert started_at(short.pid) is None


def test_a_process_ends_with_those_that_it_started() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, start_new_session=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        end(parent.pid, 15, seconds=1.0)
        assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    assert started_at(parent.pid) is None
    end(parent.pid, 15, seconds=1.0)


@pytest.mark.parametrize(("off", "runs"), [(0, True), (-3600, False)])
def test_a_server_is_found_by_a_note_as_ps_says_it(tmp_path: Path, off: int, runs: bool) -> None:
    started = started_at(os.getpid())
    assert started is not None
    note = {"process": os.getpid(), "started": time.ctime(started + off), "stop_signal": 15}
    (tmp_path / "mine.pid").write_text(json.dumps(note))
    found = Server(name="mine", folder=tmp_path, command=[], ready=lambda: True).process_id()
    assert found == (os.getpid() if runs else None)
