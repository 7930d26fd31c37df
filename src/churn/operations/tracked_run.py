"""The MLflow run of this process, which is ended as finished, failed or killed."""

import threading
from contextlib import suppress
from typing import Literal

Status = Literal["FINISHED", "FAILED", "KILLED"]


class TrackedRun:
    """The MLflow run of this process, from its start to its end."""

    def __init__(self) -> None:
        self._run_id: str | None = None

    def begin(self, run_id: str | None) -> None:
        """Set the current run; ``None`` if none is tracked, or if the caller of this process ends it."""
        self._run_id = run_id

    def end(self, status: Status) -> None:
        """End the run, and the runs nested in it that are open in this thread. Does nothing if the run has already ended.

        May be called from any thread, and again after a failure.

        Raises:
            Exception: From MLflow, where the run then still has the status RUNNING.
        """
        run_id = self._run_id
        if run_id is None:
            return
        import mlflow

        ended = set()
        while (active := mlflow.active_run()) is not None:
            ended.add(active.info.run_id)
            mlflow.end_run(status)
        if run_id not in ended:  # it is open in another thread
            client = mlflow.MlflowClient()
            if client.get_run(run_id).info.status == "RUNNING":
                client.set_terminated(run_id, status)
        self._run_id = None

    def end_within(self, seconds: float, status: Status) -> None:
        """Like `end`, for a process that is about to exit: wait at most `seconds` for MLflow, and ignore its errors."""

        def last_words() -> None:
            with suppress(Exception):
                self.end(status)

        telling = threading.Thread(target=last_words, daemon=True)
        telling.start()
        telling.join(seconds)


TRACKED_RUN = TrackedRun()
