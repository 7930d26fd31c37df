"""Trials of a parameter search as MLflow runs."""

import time
from typing import Any

from kedro.io import AbstractDataset

from churn.training.tuning import Trial


class TuningTrialsDataset(AbstractDataset[list[Trial], list[Trial]]):
    """The trials so far, kept in memory and logged to MLflow, each as a child of the active run.

    Each save logs the trials that are new since the last one, so that an interrupted search leaves its trials in MLflow.
    Without an active run, nothing is logged.
    """

    def __init__(self, *, metadata: dict[str, Any] | None = None) -> None:
        """Declare the data set, which has no path."""
        self._trials: list[Trial] = []
        self.metadata = metadata

    def save(self, data: list[Trial]) -> None:
        """Keep the trials, and log the new ones."""
        known = len(self._trials)
        for trial in data[known:]:
            _log(trial)
        self._trials = data

    def load(self) -> list[Trial]:
        """Return the trials of this run."""
        return self._trials

    def _exists(self) -> bool:
        return bool(self._trials)

    def _describe(self) -> dict[str, Any]:
        return {}


def _log(trial: Trial) -> None:
    import mlflow
    from mlflow.entities import Metric, Param
    from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

    parent = mlflow.active_run()
    if parent is None:
        return
    client = mlflow.MlflowClient()
    run = client.create_run(
        parent.info.experiment_id,
        run_name=f"trial {trial.number}",
        tags={MLFLOW_PARENT_RUN_ID: parent.info.run_id, "trial": trial.state},
    )
    figures = {"log_loss": trial.loss, "gain": trial.gain, "gain_error": trial.gain_error}
    now = time.time_ns() // 1_000_000  # milliseconds
    try:
        client.log_batch(
            run.info.run_id,
            metrics=[Metric(name, value, now, 0) for name, value in figures.items() if value is not None],
            params=[Param(name, str(value)) for name, value in trial.parameters.items()],
        )
    finally:
        # Also after Ctrl-C: the trial is over, and no run of it may stay open.
        client.set_terminated(run.info.run_id)
