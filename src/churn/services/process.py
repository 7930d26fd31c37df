"""Local processes, identified by process id and start time, because ids are reused."""

import os
import time
from contextlib import suppress

import psutil

# Seconds by which a start time may vary: it is computed from the boot time, which changes when the clock is set.
TOLERANCE = 2.0


def started_at(process: int) -> float | None:
    """Return when a process started, in seconds since 1970; ``None`` if it does not exist or has ended."""
    try:
        found = psutil.Process(process)
        started: float = found.create_time()
        return None if found.status() == psutil.STATUS_ZOMBIE else started
    except psutil.NoSuchProcess:
        return None


def is_running(process: int, started: float) -> bool:
    """Return whether a process with this id and start time is running."""
    found = started_at(process)
    return found is not None and abs(found - started) <= TOLERANCE


def end(process: int, stop_signal: int, seconds: float) -> None:
    """Send a signal to a process group, and kill the processes that do not end.

    Args:
        process: Id of the leader of the process group.
        stop_signal: Signal to send.
        seconds: Time to wait before killing.
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
        # Children of other processes stay zombies until their parents reap them; they do not count.
        left = [each for each in left if started_at(each.pid) is not None]
    for each in left:
        with suppress(psutil.NoSuchProcess):
            each.kill()
    psutil.wait_procs(left, timeout=seconds)
