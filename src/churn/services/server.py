"""How each server is started, and when it is ready."""

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
# Seconds that a server may take to be ready, and to stop when asked.
START_TIMEOUT, STOP_TIMEOUT = 60.0, 20.0
LAST_LINES = 15


@dataclass
class Server:
    """A server process of its own, found again by its process id.

    Attributes:
        name: As people know it.
        folder: Where its log, its process id and its data lie.
        command: How it is started.
        ready: Whether it answers as it should.
        ports: Ports that it listens on, on loopback.
        environment: Variables besides those of this process.
        user: Account that it runs as; the present one by default.
        stop_signal: Which signal asks it to end.
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
        """File with what it prints."""
        return self.folder / f"{self.name}.log"

    @property
    def _note(self) -> Path:
        return self.folder / f"{self.name}.pid"

    def process_id(self) -> int | None:
        """Its process, if it runs."""
        noted = self._noted()
        return int(noted["process"]) if noted and is_running(noted["process"], _seconds(noted["started"])) else None

    def _noted(self) -> dict[str, Any] | None:
        try:
            noted: dict[str, Any] = json.loads(self._note.read_text())
        except (OSError, ValueError):
            return None
        return noted

    def start(self) -> bool:
        """Start it and wait until it is ready.

        Returns:
            Whether it was started; it may run already.

        Raises:
            ChurnError: If a port is taken, or it ends or is not ready in time; then it is stopped again.
        """
        if self.process_id() is not None:
            self._wait()
            return False
        taken = [port for port in self.ports if not is_free(port)]
        if taken:
            raise ChurnError(
                f"{self.name}: port {', '.join(map(str, taken))} of {LOOPBACK} is taken by another program; stop that, or "
                "give other addresses in .env"
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
        """Ask it to end, and make it end if it does not; whether it ran."""
        process = self.process_id()
        if process is not None:
            end(process, (self._noted() or {}).get("stop_signal", self.stop_signal), STOP_TIMEOUT)
        self._note.unlink(missing_ok=True)
        return process is not None


def _seconds(started: float | str) -> float:
    """When a noted process started; notes of version 0.1 say it as `ps` does."""
    if isinstance(started, str):
        try:
            return time.mktime(time.strptime(started))
        except ValueError:
            return 0.0
    return started


def is_free(port: int) -> bool:
    """Whether nothing listens on a port of this machine."""
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_ports(count: int, start: int, distance: int = 0, spared: tuple[int, ...] = ()) -> list[int]:
    """Free ports from a number on, each with the port `distance` above it free too, and none of those to be spared."""
    found: list[int] = []
    for port in range(start, 55_000):
        both = {port, port + distance}
        if not both & set(spared) and all(map(is_free, both)):
            found.append(port)
            if len(found) == count:
                return found
    raise ChurnError(f"no {count} free ports from {start} on")


DATABASE, DATABASE_USER = "mlflow", "churn"


def find_program(program: str, remedy: str) -> str:
    """Path of a program beside this Python, or else on the PATH.

    Raises:
        ChurnError: If it is not there.
    """
    beside = Path(sys.executable).parent / program
    found = str(beside) if beside.exists() else shutil.which(program)
    if found is None:
        raise ChurnError(f"the program '{program}' is not here; {remedy}")
    return found


def answers(address: str) -> bool:
    """Whether a page answers with 200."""
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
