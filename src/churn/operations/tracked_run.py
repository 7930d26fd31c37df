"""Where the run of this process ends in MLflow, however it ends: done, failed or stopped."""

import threading
from contextlib import suppress
from typing import Literal

Status = Literal["FINISHED", "FAILED", "KILLED"]


class TrackedRun:
    """The run of this process in MLflow, between its start and its end."""

    def __init__(self) -> None:
        self._run_id: str | None = None

    def begin(self, run_id: str | None) -> None:
        """Say which run goes on; none where none is tracked, or where it is not ours to end."""
        self._run_id = run_id

    def end(self, status: Status) -> None:
        """End the run, and those inside it that are open in this thread; does nothing where it has ended already.

        May be called by any thread, and again when it failed.

        Raises:
            Exception: What MLflow said; it takes the run for running then.
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
        """As `end`, for a process that is about to end: waits a while for MLflow, and says nothing of its refusal."""

        def last_words() -> None:
            with suppress(Exception):
                self.end(status)

        telling = threading.Thread(target=last_words, daemon=True)
        telling.start()
        telling.join(seconds)


TRACKED_RUN = TrackedRun()
