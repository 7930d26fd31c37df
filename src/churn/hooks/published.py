"""The results that this run has published are those that it reports on."""

from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.io import AbstractDataset, CatalogProtocol
from kedro.pipeline import Pipeline

Catalog = CatalogProtocol[str, AbstractDataset[Any, Any]]

PUBLISHED, MONITORED = "results@publish", "results@monitored"


class PublishedHook:
    """Lets later nodes of a run load what it has published, also if another run has replaced the pointer meanwhile."""

    def __init__(self) -> None:
        self._catalog: Catalog | None = None

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: Catalog) -> None:
        """Begin with the current results."""
        self._catalog = catalog if {PUBLISHED, MONITORED} <= pipeline.datasets() else None
        if self._catalog is not None:
            self._follow(None)

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Follow the run that was published, if one was: there may have been nothing to score."""
        if self._catalog is not None and dataset_name == PUBLISHED:
            published: Any = self._catalog[PUBLISHED]
            self._follow(published.published["run_id"] if published.published else None)

    def _follow(self, run_id: str | None) -> None:
        if self._catalog is not None:
            monitored: Any = self._catalog[MONITORED]
            monitored.follow(run_id)
