"""Metrics of a run in MLflow."""

import time
from typing import Any

from kedro.io import AbstractDataset, DatasetError


class MlflowMetricsDataset(AbstractDataset[dict[str, float], dict[str, float]]):
    """Metrics of the active MLflow run, by name.

    All metrics are logged in one call of the client, which sends up to 1,000 in a request. kedro-mlflow's own data set sends
    a request for each metric, and a report of a table with hundreds of columns has thousands.

    kedro-mlflow switches the logging of data sets off by their class names, which begin with "Mlflow".

    Example:
        ```yaml
        tracked_health:
          type: churn.datasets.MlflowMetricsDataset
          prefix: health
        ```
    """

    def __init__(self, *, prefix: str = "", metadata: dict[str, Any] | None = None) -> None:
        """Declare the metrics.

        Args:
            prefix: Text before the name of each metric and a dot; empty for none.
            metadata: For plugins; not read here.
        """
        self._prefix = f"{prefix}." if prefix else ""
        self._logging_activated = True
        self.metadata = metadata

    def save(self, data: dict[str, float]) -> None:
        """Log the metrics to the active run. Without an active run, nothing is logged."""
        import mlflow
        from mlflow.entities import Metric

        run = mlflow.active_run()
        if run is None or not self._logging_activated:
            return
        now = time.time_ns() // 1_000_000  # milliseconds
        metrics = [Metric(f"{self._prefix}{name}", value, now, 0) for name, value in data.items()]
        mlflow.MlflowClient().log_batch(run.info.run_id, metrics=metrics)

    def load(self) -> dict[str, float]:
        """Return the metrics of the active run that have the prefix."""
        import mlflow

        run = mlflow.active_run()
        if run is None:
            raise DatasetError("the metrics are those of the active MLflow run, and no run is active")
        stored = mlflow.MlflowClient().get_run(run.info.run_id).data.metrics
        return {
            name.removeprefix(self._prefix): value for name, value in stored.items() if name.startswith(self._prefix)
        }

    def _describe(self) -> dict[str, Any]:
        return {"prefix": self._prefix}
