"""Runs that MLflow may still believe to be running, and whether it answers at all."""

import json
import logging
import os
from pathlib import Path

from churn.services.process import is_running, started_at

logger = logging.getLogger(__name__)
HEALTH_TIMEOUT = 5.0
HEALTH_ATTEMPTS = 2


class OpenRuns:
    """Runs of this machine that MLflow may still believe to be running, one small file each."""

    def __init__(self, folder: Path, tracking_uri: str) -> None:
        self._folder, self._uri = folder, tracking_uri

    def opened(self, run_id: str) -> None:
        """Note a run that began."""
        self._note(run_id, os.getpid())

    def left_open(self, run_id: str) -> None:
        """Note that a run is over without MLflow knowing."""
        self._note(run_id, 0)

    def closed(self, run_id: str) -> None:
        """Forget a run that MLflow knows to be over."""
        (self._folder / f"{run_id}.json").unlink(missing_ok=True)

    def _note(self, run_id: str, process: int) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            noted = {"tracking_uri": self._uri, "process": process, "started": started_at(process) if process else None}
            content = json.dumps(noted)
            (self._folder / f"{run_id}.json").write_text(content, encoding="utf-8")
        except OSError as error:
            logger.debug("Open runs are not noted: %s", error)

    def close_stale(self) -> None:
        """End the runs in MLflow whose process is gone."""
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
                    logger.info("Closed the MLflow run %s, whose process is gone.", run_id)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
            file.unlink(missing_ok=True)


def _goes_on(process: int, started: float | None) -> bool:
    """Whether the process of a note runs, which is another one than this. In a container the number is always the same."""
    if process in (0, os.getpid()):
        return False
    # Notes of version 0.1 lack the start.
    return started_at(process) is not None if started is None else is_running(process, started)


def why_absent(uri: str) -> str | None:
    """Why a tracking server does not answer; ``None`` where it does, or where MLflow needs no server."""
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
    """Whether an error says that MLflow could not be reached, rather than that it refused something."""
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
    """What an error says, its first line alone."""
    return (str(error) or type(error).__name__).splitlines()[0]
