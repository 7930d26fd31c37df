"""Starting and stopping a server process."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from churn.errors import ChurnError
from churn.services.process import end, is_running, started_at

LOOPBACK = "127.0.0.1"
# Seconds for a server to become ready, and to stop.
START_TIMEOUT, STOP_TIMEOUT = 60.0, 20.0
LAST_LINES = 15


@dataclass
class Server:
    """A server process, which later commands find by its process id file.

    Attributes:
        name: Name for messages and file names.
        folder: Folder with its log, process id file and data.
        command: Command that starts it.
        ready: Returns whether it is ready.
        ports: Ports that it listens on, on loopback.
        environment: Environment variables in addition to those of this process.
        user: Account that it runs as; the current one by default.
        stop_signal: Signal that stops it.
    """

    name: str
    folder: Path
    command: list[str]
    ready: Callable[[], bool]
    ports: tuple[int, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    stop_signal: int = signal.SIGTERM

    @property
    def log(self) -> Path:
        """Path of its log file."""
        return self.folder / f"{self.name}.log"

    @property
    def _note(self) -> Path:
        return self.folder / f"{self.name}.pid"

    def process_id(self) -> int | None:
        """Id of its process; ``None`` if it does not run."""
        noted = self._noted()
        return int(noted["process"]) if noted and is_running(noted["process"], _seconds(noted["started"])) else None

    def _noted(self) -> dict[str, Any] | None:
        try:
            noted: dict[str, Any] = json.loads(self._note.read_text())
        except (OSError, ValueError):
            return None
        return noted

    def start(self) -> bool:
        """Start the server and wait until it is ready.

        Returns:
            Whether it was started; ``False`` if it was already running.

        Raises:
            ChurnError: If a port is in use, or the server ends or is not ready in time; it is then stopped.
        """
        if self.process_id() is not None:
            self._wait()
            return False
        taken = [port for port in self.ports if not is_free(port)]
        if taken:
            raise ChurnError(
                f"{self.name}: port {', '.join(map(str, taken))} of {LOOPBACK} is used by another program; stop it, or set "
                "other addresses in .env"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            process = subprocess.Popen(  # noqa: S603
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment},
                cwd=self.folder,
                user=self.user,
                start_new_session=True,
            )
        noted = {
            "process": process.pid,
            "started": started_at(process.pid) or 0.0,
            "stop_signal": int(self.stop_signal),
        }
        self._note.write_text(json.dumps(noted))
        try:
            self._wait(process)
        except BaseException:
            self.stop()
            raise
        return True

    def _wait(self, process: "subprocess.Popen[bytes] | None" = None) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            if process is not None and process.poll() is not None:
                raise ChurnError(
                    f"{self.name} ended with code {process.returncode}. Its last lines:\n{self._last_lines()}"
                )
            if self.ready():
                return
            time.sleep(0.1)
        raise ChurnError(
            f"{self.name} is not ready after {START_TIMEOUT:.0f} seconds. Its last lines:\n{self._last_lines()}"
        )

    def _last_lines(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:]
        return "\n".join(f"  {line}" for line in lines)

    def stop(self) -> bool:
        """Stop the server, and kill it if it does not end in time.

        Returns:
            Whether it was running.
        """
        process = self.process_id()
        if process is not None:
            end(process, (self._noted() or {}).get("stop_signal", self.stop_signal), STOP_TIMEOUT)
        self._note.unlink(missing_ok=True)
        return process is not None


def _seconds(started: float | str) -> float:
    """Return the recorded start time in seconds; version 0.1 recorded it in the format of `ps`."""
    if isinstance(started, str):
        try:
            return time.mktime(time.strptime(started))
        except ValueError:
            return 0.0
    return started


def is_free(port: int) -> bool:
    """Return whether a loopback port is free."""
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_ports(count: int, start: int, distance: int = 0, spared: tuple[int, ...] = ()) -> list[int]:
    """Find free ports.

    Args:
        count: Number of ports.
        start: Lowest port.
        distance: The port this far above each one is free too.
        spared: Ports that are not used.

    Raises:
        ChurnError: If there are not enough free ports.
    """
    found: list[int] = []
    for port in range(start, 55_000):
        both = {port, port + distance}
        if not both & set(spared) and all(map(is_free, both)):
            found.append(port)
            if len(found) == count:
                return found
    raise ChurnError(f"fewer than {count} free ports from {start} on; stop programs that use them")


DATABASE, DATABASE_USER = "mlflow", "churn"


def find_program(program: str, remedy: str) -> str:
    """Return the path of a program next to this Python, or else on the PATH.

    Raises:
        ChurnError: If it is not found.
    """
    beside = Path(sys.executable).parent / program
    found = str(beside) if beside.exists() else shutil.which(program)
    if found is None:
        raise ChurnError(f"the program '{program}' is not installed; {remedy}")
    return found


def answers(address: str) -> bool:
    """Return whether an address answers with status 200."""
    import requests

    try:
        return requests.get(address, timeout=2).status_code == 200
    except requests.RequestException:
        return False


def write_private(file: Path, content: str) -> None:
    """Write a file that only its owner can read."""
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as opened:
        opened.write(content)
