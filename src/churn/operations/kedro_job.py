"""A `kedro run` in a separate process."""

import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Literal, Protocol

Kind = Literal["training", "inference"]
# In this order, so that inference uses the newly trained model.
KINDS: tuple[Kind, ...] = ("training", "inference")
# Seconds for a job to end after SIGINT.
GRACE = 8.0


class Job(Protocol):
    """Runs one kind of job."""

    def __call__(self, kind: Kind) -> int | None:
        """Run the job. Returns its exit code, or ``None`` if it was stopped."""
        ...


COMMANDS: dict[Kind, tuple[str, str]] = {
    "training": ("feature_engineering,training", "training.only_if_changed=true"),
    "inference": ("inference,monitoring", "inference.incremental=true,inference.rescore=true"),
}


class KedroJob:
    """A `kedro run` in a separate process."""

    def __init__(self, options: Sequence[str], parameters: str = "") -> None:
        """Set what every run gets.

        Args:
            options: Options of ``kedro run``: environment and configuration folder.
            parameters: Parameters in the form of ``--params``.
        """
        self._options, self._parameters = list(options), parameters
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = False
        self._lock = threading.Lock()

    def __call__(self, kind: Kind) -> int | None:
        """Run the job; see `Job`."""
        pipelines, parameters = COMMANDS[kind]
        parameters = ",".join(filter(None, (self._parameters, parameters)))
        command = [
            sys.executable,
            "-m",
            "kedro",
            "run",
            *self._options,
            "--pipelines",
            pipelines,
            "--params",
            parameters,
        ]
        with self._lock:
            if self._stopping:
                return None
            # In a session of its own, so that it receives Ctrl-C once, from `stop`.
            self._process = subprocess.Popen(command, start_new_session=True)  # noqa: S603
        code = self._process.wait()
        return None if self._stopping else code

    def stop(self) -> None:
        """Interrupt the running job like Ctrl-C. Its results are published completely or not at all."""
        with self._lock:
            self._stopping = True
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGINT)
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
