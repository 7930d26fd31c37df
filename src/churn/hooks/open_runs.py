"""Runs that may have the status RUNNING in MLflow by mistake, and the check whether MLflow answers."""

import json
import logging
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

from churn.config.mlflow_environment import restored
from churn.errors import ChurnError
from churn.services.process import is_running, started_at
from churn.stores.state import StateFile

if TYPE_CHECKING:
    from mlflow import MlflowClient

logger = logging.getLogger(__name__)
# Tag of a run with the name of the note that was written before MLflow made it, and MLflow's variable with tags of new runs.
NOTE_TAG, NEW_TAGS = "note", "MLFLOW_RUN_CONTEXT"
HEALTH_TIMEOUT = 5.0
HEALTH_ATTEMPTS = 2


class _Note(BaseModel):
    """What is noted of a run: where it is tracked, its process (0: it has ended), and when that started.

    Before MLflow has made the run, the note has the experiment, and the run is the one with its name as tag.
    """

    tracking_uri: str
    process: int = Field(ge=0, lt=2**31)
    # Notes of version 0.1 have no start time.
    started: float | None = Field(default=None, allow_inf_nan=False)
    experiment: str | None = None


class OpenRuns:
    """Runs of this machine that MLflow may list as running, one small file each.

    The notes only tell: a folder that cannot be read or written never ends a run.
    """

    def __init__(self, folder: Path, tracking_uri: str) -> None:
        self._folder, self._uri = folder, tracking_uri
        self._opening: set[str] = set()  # names of notes of this process

    @contextmanager
    def opening(self, experiment: str) -> Iterator[None]:
        """Record a run that MLflow makes within the block, before its id is known: the process may be killed meanwhile.

        If the block fails, MLflow may have made the run all the same, and the record stays.
        """
        name = f"opening-{uuid.uuid4().hex}"
        self._opening.add(name)
        self._note(name, os.getpid(), experiment)
        tags = {}
        with restored(NEW_TAGS) as given:
            with suppress(ValueError):  # of the user; MLflow itself ignores what is no JSON
                tags = json.loads(given or "{}")
            if isinstance(tags, dict):
                os.environ[NEW_TAGS] = json.dumps({**tags, NOTE_TAG: name})
            yield
        self.closed(name)

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

    def _note(self, name: str, process: int, experiment: str | None = None) -> None:
        started = started_at(process) if process else None
        note = _Note(tracking_uri=self._uri, process=process, started=started, experiment=experiment)
        try:
            self._file(name).write(note)
        except ChurnError as error:
            logger.warning("MLflow may list this run as running if it is killed: %s", error)

    def close_stale(self) -> None:
        """End the runs in MLflow whose process no longer exists."""
        import mlflow
        from mlflow.exceptions import MlflowException

        from churn.registry.uri import ABSENT_CODES

        client = mlflow.MlflowClient()
        for file in sorted(self._folder.glob("*.json")):
            name = file.stem
            if name in self._opening:
                continue
            noted = self._file(name).read()
            if noted.tracking_uri != self._uri or _goes_on(noted.process, noted.started):
                continue
            try:
                for run_id in _noted_runs(client, name, noted):
                    client.set_tag(run_id, "closed_late", "its process ended without telling MLflow")
                    client.set_terminated(run_id, "FAILED")
                    logger.info("Closed the MLflow run %s, whose process no longer exists.", run_id)
            except MlflowException as error:
                if error.error_code not in ABSENT_CODES:
                    raise
            self.closed(name)


def _noted_runs(client: "MlflowClient", name: str, note: _Note) -> list[str]:
    """Return the runs of a note that have the status RUNNING."""
    if note.experiment is None:
        return [name] if client.get_run(name).info.status == "RUNNING" else []
    wanted = f"tags.{NOTE_TAG} = '{name}' and attributes.status = 'RUNNING'"
    return [run.info.run_id for run in client.search_runs([note.experiment], wanted)]


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
