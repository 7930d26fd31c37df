"""Processes of this machine, told from later ones of the same number by when they started."""

import os
import time
from contextlib import suppress

import psutil

# Seconds by which the start of a process may seem to move: it is counted from the start of the machine, by a clock that is set.
TOLERANCE = 2.0


def started_at(process: int) -> float | None:
    """When a process started, in seconds since 1970; ``None`` where there is none, or none any more."""
    try:
        found = psutil.Process(process)
        started: float = found.create_time()
        return None if found.status() == psutil.STATUS_ZOMBIE else started
    except psutil.NoSuchProcess:
        return None


def is_running(process: int, started: float) -> bool:
    """Whether the process of this number is there that started then."""
    found = started_at(process)
    return found is not None and abs(found - started) <= TOLERANCE


def end(process: int, stop_signal: int, seconds: float) -> None:
    """Ask a process and those below it to end, and make those end that do not.

    Args:
        process: The leader of a process group, which is asked as a whole.
        stop_signal: By which signal.
        seconds: How long they may take.
    """
    try:
        leader = psutil.Process(process)
        left = [leader, *leader.children(recursive=True)]
        os.killpg(process, stop_signal)
    except (psutil.NoSuchProcess, ProcessLookupError):
        return
    deadline = time.monotonic() + seconds
    while left and time.monotonic() < deadline:
        _, left = psutil.wait_procs(left, timeout=0.1)
        # Children of other processes are not collected here, and stay as zombies until those do it.
        left = [each for each in left if started_at(each.pid) is not None]
    for each in left:
        with suppress(psutil.NoSuchProcess):
            each.kill()
    psutil.wait_procs(left, timeout=seconds)
