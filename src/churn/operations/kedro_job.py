"""A `kedro run` in a separate process.

The process holds a lock as long as it lives: it inherits the open file that carries the lock. So the lock outlives a trigger
that is killed, and ends with the work in every case; nothing has to be cleaned up. `filelock` cannot pass its file on.
"""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Literal, NamedTuple, Protocol, get_args

from churn.errors import ChurnError
from churn.web.log_format import TRACE_ID

try:
    import fcntl
except ImportError:  # Windows has no locks that a process can inherit
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)

Kind = Literal["training", "inference", "monitoring"]
# In this order, so that inference uses the newly trained model.
KINDS: tuple[Kind, ...] = get_args(Kind)
# Seconds for a job to end after SIGINT; the trigger ends within five.
GRACE = 2.5
# Seconds between two looks whether the job of an earlier trigger has ended.
GLANCE = 1.0
LOCK = "run.lock"


class Ended(NamedTuple):
    """How a run has ended.

    Attributes:
        code: Its exit code; ``None`` if an earlier trigger started it, as only that one could have got the code.
        stopped: Whether it was interrupted because the trigger stops.
    """

    code: int | None
    stopped: bool = False


class Run(Protocol):
    """A run that has been started."""

    def ended(self) -> Ended | None:
        """Return how the run has ended; ``None`` while it goes on."""
        ...

    def wait(self) -> None:
        """Wait until it has ended."""
        ...


class Job(Protocol):
    """Starts runs, one at a time."""

    def start(self, kind: Kind, trace_id: str) -> Run | None:
        """Start a run; ``None`` if runs are no longer started.

        Raises:
            ChurnError: If it cannot be started.
        """
        ...

    def left(self) -> Run | None:
        """Return the run that an earlier trigger started and that still goes on; ``None`` if there is none."""
        ...


COMMANDS: dict[Kind, tuple[str, str]] = {
    "training": ("feature_engineering,training", "training.only_if_changed=true"),
    "inference": ("inference,monitoring", "inference.incremental=true,inference.rescore=true"),
    "monitoring": ("monitoring", ""),
}


class KedroJob:
    """Runs of Kedro in separate processes.

    Attributes:
        on_end: Called in another thread when a run has ended.
    """

    def __init__(self, options: Sequence[str], parameters: str = "", folder: Path | None = None) -> None:
        """Set what every run gets.

        Args:
            options: Options of ``kedro run``: environment and configuration folder.
            parameters: Parameters in the form of ``--params``.
            folder: Folder with the lock; ``None`` for no lock.
        """
        self._options, self._parameters = list(options), parameters
        self.folder = folder
        self.on_end: Callable[[], None] = lambda: None
        self._run: _Process | None = None
        self._stopping = False
        self._lock = threading.Lock()

    def command(self, kind: Kind) -> list[str]:
        """Return the command of a kind of run."""
        pipelines, parameters = COMMANDS[kind]
        given = ",".join(filter(None, (self._parameters, parameters)))
        command = [sys.executable, "-m", "kedro", "run", *self._options, "--pipelines", pipelines]
        return [*command, "--params", given] if given else command

    def start(self, kind: Kind, trace_id: str) -> Run | None:
        """Start a run; see `Job`."""
        with self._lock:
            if self._stopping:
                return None
            try:
                held = self._held()
            except BlockingIOError:
                raise ChurnError(f"{kind} cannot be started: another run goes on") from None
            try:
                process = subprocess.Popen(  # noqa: S603
                    self.command(kind),
                    env={**os.environ, TRACE_ID: trace_id},
                    # In a session of its own, so that it receives Ctrl-C once, from `stop`.
                    start_new_session=True,
                    pass_fds=[held.fileno()] if held is not None else [],
                )
            except OSError as error:
                raise ChurnError(f"{kind} cannot be started: {error.strerror or error}") from error
            finally:
                if held is not None:  # from here on the lock is the child's alone
                    held.close()
            self._run = _Process(process, self)
        _when_ended(self._run, self)
        return self._run

    def left(self) -> Run | None:
        """Return the run of an earlier trigger; see `Job`."""
        if self._run is not None and self._run.ended() is None:
            return self._run
        if not self.is_held():
            return None
        run = _Left(self)
        _when_ended(run, self)
        return run

    def is_held(self) -> bool:
        """Return whether a run of this or of an earlier trigger goes on."""
        with self._lock:  # asking takes the lock for a moment
            try:
                held = self._held()
            except BlockingIOError:
                return True
            if held is not None:
                held.close()
            return False

    def _held(self) -> IO[bytes] | None:
        """Return the locked file; ``None`` where there is no lock.

        Raises:
            BlockingIOError: If another process holds the lock.
            ChurnError: If the file cannot be opened.
        """
        if self.folder is None or fcntl is None:
            return None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            file = (self.folder / LOCK).open("ab")
        except OSError as error:
            raise ChurnError(f"{self.folder / LOCK} cannot be opened: {error.strerror or error}") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            raise
        return file

    @property
    def stopping(self) -> bool:
        """Whether runs are no longer started."""
        return self._stopping

    def stop(self) -> None:
        """Interrupt the running job like Ctrl-C. Its results are published completely or not at all."""
        with self._lock:
            self._stopping = True
        if self._run is not None:
            self._run.stop()


class _Process:
    """A run that this trigger has started."""

    def __init__(self, process: "subprocess.Popen[bytes]", job: KedroJob) -> None:
        self._process, self._job = process, job

    def ended(self) -> Ended | None:
        code = self._process.poll()
        return None if code is None else Ended(code, stopped=self._job.stopping)

    def wait(self) -> None:
        self._process.wait()

    def stop(self) -> None:
        if self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(GRACE)
        except subprocess.TimeoutExpired:
            # With all that it has started; the group is its own.
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


class _Left:
    """A run that an earlier trigger has started. It is not this one's child, so its exit code cannot be known."""

    def __init__(self, job: KedroJob) -> None:
        self._job = job

    def ended(self) -> Ended | None:
        return None if self._job.is_held() else Ended(None)

    def wait(self) -> None:
        while self._job.is_held() and not self._job.stopping:
            time.sleep(GLANCE)


def _when_ended(run: Run, job: KedroJob) -> None:
    def tell() -> None:
        with suppress(ChurnError):
            run.wait()
        job.on_end()

    threading.Thread(target=tell, name="end of a run", daemon=True).start()
