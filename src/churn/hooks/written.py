"""What a run had stored before it failed."""

from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.io import AbstractDataset, CatalogProtocol, MemoryDataset
from kedro.pipeline import Pipeline

from churn.errors import FaultsError

Catalog = CatalogProtocol[str, AbstractDataset[Any, Any]]


class WrittenHook:
    """Tells an error that lists faults which data sets the run had stored, so that it does not claim the contrary."""

    def __init__(self) -> None:
        self._written: dict[str, None] = {}
        self._catalog: Catalog | None = None

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: Catalog) -> None:
        """Begin with nothing."""
        self._written, self._catalog = {}, catalog

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Record a data set that is not in memory only."""
        if self._catalog is not None and not isinstance(self._catalog.get(dataset_name), MemoryDataset):
            self._written[dataset_name.partition("@")[0]] = None

    @hook_impl(tryfirst=True)
    def on_pipeline_error(self, error: Exception) -> None:
        """Complete the error, or the one that it was raised from."""
        seen: BaseException | None = error
        while seen is not None:
            if isinstance(seen, FaultsError):
                seen.written = tuple(self._written)
            seen = seen.__cause__ or seen.__context__
