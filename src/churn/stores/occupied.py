"""Whether a process is still writing a file or a folder on this machine.

A writer holds a lock of the operating system on the open file or folder, which ends with the process, however it ends. No
process id and no clock is compared, so this also holds between containers that share a disk, and after the clock was set.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

# Windows has none.
_fcntl: Any = import_module("fcntl") if find_spec("fcntl") else None

# Without locks, for example on some network file systems, what has not changed for so many seconds has no writer.
SILENCE = 86_400.0
# Seconds within which something new may not be locked yet.
BEGINNING = 60.0


def occupy(file: IO[bytes]) -> None:
    """Lock a file that was just opened for writing, until it is closed. Does nothing where there are no locks."""
    _lock(file.fileno())


@contextmanager
def occupied(folder: Path) -> Iterator[None]:
    """Lock a folder while the block runs. Without effect where there are no locks."""
    handle = _opened(folder)
    try:
        if handle is not None:
            _lock(handle)
        yield
    finally:
        if handle is not None:
            os.close(handle)


def is_abandoned(path: Path, newest: float | None = None) -> bool:
    """Return whether the process that wrote a file or a folder has ended without finishing it.

    Args:
        path: The file or folder; false if it is gone.
        newest: Time of the last change in it, in seconds since 1970; that of the path itself by default.
    """
    try:
        changed = path.stat().st_mtime if newest is None else newest
        # A time ahead tells nothing about the age, but that a lock was taken long ago.
        silent = abs(time.time() - changed)
        if silent <= BEGINNING:  # not even tried: it would keep the writer from locking it
            return False
        handle = _opened(path)
    except OSError:
        return False
    if handle is None:
        return silent > SILENCE
    try:
        free = _lock(handle)
    finally:
        os.close(handle)
    return silent > SILENCE if free is None else free


def _opened(path: Path) -> int | None:
    if _fcntl is None:
        return None
    return os.open(path, os.O_RDONLY)


def _lock(handle: int) -> bool | None:
    """Lock, and return whether that was possible; ``None`` where there are no locks."""
    if _fcntl is None:
        return None
    with suppress(OSError):
        try:
            _fcntl.flock(handle, _fcntl.LOCK_EX | _fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
    return None
