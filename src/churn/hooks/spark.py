"""The Spark session of a run that uses Spark frames."""

from typing import Any

from kedro.config import MissingConfigException
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import AbstractDataset, CatalogProtocol
from kedro.pipeline import Pipeline

from churn.spark import session
from churn.spark.session import SparkSettings

Catalog = CatalogProtocol[str, AbstractDataset[Any, Any]]


class SparkHook:
    """Starts Spark before a run that uses Spark frames, and stops it afterwards."""

    def __init__(self) -> None:
        self._settings: SparkSettings | None = None
        self._session: Any = None

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Read ``spark.yml``, if the environment has one."""
        try:
            content = context.config_loader["spark"]
        except MissingConfigException:
            content = {}
        self._settings = SparkSettings.read(content) if content else None

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: Catalog) -> None:
        """Start a session with these settings. A session that already runs is used as it is and is not stopped."""
        if self._settings is None or session.running():
            return
        if any(_is_of_spark(catalog.get(name)) for name in pipeline.datasets()):
            self._session = session.start(self._settings)

    @hook_impl(trylast=True)
    def after_pipeline_run(self) -> None:
        """Stop the session."""
        self._stop()

    @hook_impl(trylast=True)
    def on_pipeline_error(self) -> None:
        """Stop the session."""
        self._stop()

    def _stop(self) -> None:
        if self._session is not None:
            session.stop(self._session)
            self._session = None


def _is_of_spark(dataset: object) -> bool:
    """Return whether a data set uses Spark frames, by its module name: importing its class may need pyspark."""
    inner = getattr(dataset, "chosen", dataset)
    return any(part.startswith("spark") for part in type(inner).__module__.split("."))
