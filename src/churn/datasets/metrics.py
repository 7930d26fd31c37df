"""Metrics of a run in MLflow, and the model cards there."""

import logging
import time
from collections.abc import Callable
from typing import Any, NoReturn

from kedro.io import AbstractDataset, DatasetError

logger = logging.getLogger(__name__)


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


class MlflowModelCardDataset(AbstractDataset[NoReturn, Callable[[str | None], str | None]]):
    """The model cards of trainings in MLflow; loads only, a function that fetches one when it is called.

    It only completes a report: a card that cannot be fetched is none.
    """

    def __init__(self, *, metadata: dict[str, Any] | None = None) -> None:
        """Declare the data set, which has no path."""
        self._logging_activated = True  # false while MLflow does not answer, so that nothing waits for it
        self.metadata = metadata

    def load(self) -> Callable[[str | None], str | None]:
        """Return a function that takes the id of a training's run, and returns the page of its card; ``None`` for none."""
        return self._page

    def _page(self, run_id: str | None) -> str | None:
        if not run_id or not self._logging_activated:
            return None
        import mlflow

        try:
            page: str = mlflow.artifacts.load_text(f"runs:/{run_id}/model_card.html")
        except Exception as error:  # it was removed, or a model of another server was named
            logger.debug("The card of the run %s cannot be fetched: %s", run_id, error)
            return None
        return page

    def save(self, data: NoReturn) -> NoReturn:
        """Raise an error: training logs its card itself."""
        raise DatasetError("a model card cannot be saved here; the training pipeline logs it")

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return {}
