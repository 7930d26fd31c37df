"""Runs that may have the status RUNNING in MLflow by mistake, and the check whether MLflow answers."""

import logging
import os
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, Field

from churn.errors import ChurnError
from churn.services.process import is_running, started_at
from churn.stores.state import StateFile

logger = logging.getLogger(__name__)
HEALTH_TIMEOUT = 5.0
HEALTH_ATTEMPTS = 2


class _Note(BaseModel):
    """What is noted of a run: where it is tracked, its process (0: it has ended), and when that started."""

    tracking_uri: str
    process: int = Field(ge=0, lt=2**31)
    # Notes of version 0.1 have no start time.
    started: float | None = Field(default=None, allow_inf_nan=False)


class OpenRuns:
    """Runs of this machine that MLflow may list as running, one small file each.

    The notes only tell: a folder that cannot be read or written never ends a run.
    """

    def __init__(self, folder: Path, tracking_uri: str) -> None:
        self._folder, self._uri = folder, tracking_uri

    def opened(self, run_id: str) -> None:
        """Record a run that has started."""
        self._note(run_id, os.getpid())

    def left_open(self, run_id: str) -> None:
        """Record a run that has ended, but not in MLflow."""
        self._note(run_id, 0)

    def closed(self, run_id: str) -> None:
        """Delete the record of a run that has ended in MLflow."""
        with suppress(OSError):  # it stays, and the next run finds that this one has ended
            (self._folder / f"{run_id}.json").unlink(missing_ok=True)

    def _file(self, run_id: str) -> StateFile[_Note]:
        # A damaged note does not say whose run it was: it counts as one of another server, which is left alone.
        return StateFile(self._folder / f"{run_id}.json", _Note, lambda: _Note(tracking_uri="", process=0))

    def _note(self, run_id: str, process: int) -> None:
        note = _Note(tracking_uri=self._uri, process=process, started=started_at(process) if process else None)
        try:
            self._file(run_id).write(note)
        except ChurnError as error:
            logger.warning("MLflow may list this run as running if it is killed: %s", error)

    def close_stale(self) -> None:
        """End the runs in MLflow whose process no longer exists."""
        import mlflow
        from mlflow.exceptions import MlflowException

        from churn.registry.uri import ABSENT_CODES

        client = mlflow.MlflowClient()
        for file in sorted(self._folder.glob("*.json")):
            run_id = file.stem
            noted = self._file(run_id).read()
            if noted.tracking_uri != self._uri or _goes_on(noted.process, noted.started):
                continue
            try:
                if client.get_run(run_id).info.status == "RUNNING":
                    client.set_tag(run_id, "closed_late", "its process ended without telling MLflow")
                    client.set_terminated(run_id, "FAILED")
                    logger.info("Closed the MLflow run %s, whose process no longer exists.", run_id)
            except MlflowException as error:
                if error.error_code not in ABSENT_CODES:
                    raise
            self.closed(run_id)


def _goes_on(process: int, started: float | None) -> bool:
    """Return whether the recorded process runs and is not this one. In a container the process id is always the same."""
    if process in (0, os.getpid()):
        return False
    return started_at(process) is not None if started is None else is_running(process, started)


def why_absent(uri: str) -> str | None:
    """Return why the tracking server does not answer; ``None`` if it answers, or if MLflow needs no server."""
    if not uri.startswith(("http://", "https://")):
        return None
    import requests

    reason = ""
    for _ in range(HEALTH_ATTEMPTS):
        try:
            answer = requests.get(f"{uri.rstrip('/')}/health", timeout=HEALTH_TIMEOUT)
        except requests.RequestException as error:
            reason = first_line(error)
            continue
        if answer.status_code < 500:
            return None
        reason = f"it answers {answer.status_code}"
    return f"MLflow at {uri} does not answer: {reason}"


def is_no_answer(error: BaseException) -> bool:
    """Return whether an error means that MLflow could not be reached, not that it refused a request."""
    import requests
    from mlflow.exceptions import MlflowException

    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, requests.RequestException | ConnectionError | TimeoutError):
            return True
        if isinstance(seen, MlflowException) and "API request to" in str(seen) and "failed with" in str(seen):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message."""
    return (str(error) or type(error).__name__).splitlines()[0]
