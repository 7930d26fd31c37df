"""Runs that may have the status RUNNING in MLflow by mistake, and the check whether MLflow answers."""

import json
import logging
import os
from pathlib import Path

from churn.services.process import is_running, started_at

logger = logging.getLogger(__name__)
HEALTH_TIMEOUT = 5.0
HEALTH_ATTEMPTS = 2


class OpenRuns:
    """Runs of this machine that MLflow may list as running, one small file each."""

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
        (self._folder / f"{run_id}.json").unlink(missing_ok=True)

    def _note(self, run_id: str, process: int) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            noted = {"tracking_uri": self._uri, "process": process, "started": started_at(process) if process else None}
            content = json.dumps(noted)
            (self._folder / f"{run_id}.json").write_text(content, encoding="utf-8")
        except OSError as error:
            logger.debug("Open runs could not be recorded: %s", error)

    def close_stale(self) -> None:
        """End the runs in MLflow whose process no longer exists."""
        import mlflow
        from mlflow.exceptions import MlflowException

        client = mlflow.MlflowClient()
        for file in sorted(self._folder.glob("*.json")):
            noted = json.loads(file.read_text(encoding="utf-8"))
            if noted["tracking_uri"] != self._uri or _goes_on(noted["process"], noted.get("started")):
                continue
            run_id = file.stem
            try:
                if client.get_run(run_id).info.status == "RUNNING":
                    client.set_tag(run_id, "closed_late", "its process ended without telling MLflow")
                    client.set_terminated(run_id, "FAILED")
                    logger.info("Closed the MLflow run %s, whose process no longer exists.", run_id)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
            file.unlink(missing_ok=True)


def _goes_on(process: int, started: float | None) -> bool:
    """Return whether the recorded process runs and is not this one. In a container the process id is always the same."""
    if process in (0, os.getpid()):
        return False
    # Records of version 0.1 have no start time.
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
