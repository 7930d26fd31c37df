"""Configuration and inputs checked before anything is built or run."""

import logging
from pathlib import Path
from typing import Any

from kedro.config import MissingConfigException
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines
from kedro.io import AbstractDataset, CachedDataset, CatalogProtocol, MemoryDataset
from kedro.pipeline import Pipeline

from churn.config import check_parameters
from churn.config.secrets import REDACTION, check_credentials
from churn.datasets.optional import OptionalDataset
from churn.errors import FaultsError
from churn.hooks.logs import use_project_logging

Catalog = CatalogProtocol[str, AbstractDataset[Any, Any]]

SQLITE = "sqlite:///"


class PreflightHook:
    """Checks parameters and inputs, and completes the configuration, before anything is built or run."""

    @hook_impl(tryfirst=True)
    def after_context_created(self, context: KedroContext) -> None:
        """Read the project's logging, refuse faulty settings and anchor MLflow's database in the project."""
        use_project_logging(context.project_path)
        guard_secrets(context)  # first, so that no message shows one
        check_parameters(context.config_loader["parameters"])
        anchor_mlflow(context)

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: Catalog) -> None:
        """Refuse to start without the stored inputs, naming the pipelines that make them."""
        absent = {name: catalog.get(name) for name in sorted(pipeline.inputs()) if _is_absent(catalog.get(name))}
        if absent:
            faults = [
                f"{name} is not there yet ({_where(dataset)}); {_maker(name)}" for name, dataset in absent.items()
            ]
            raise FaultsError("inputs of this run", faults)


def _maker(dataset_name: str) -> str:
    """Which pipeline makes a data set."""
    base = _without_transcoding(dataset_name)
    for name, made in pipelines.items():
        if name != "__default__" and base in map(_without_transcoding, made.all_outputs()):
            return f"kedro run --pipelines {name} makes it"
    return "put it there"


def _without_transcoding(dataset_name: str) -> str:
    return dataset_name.partition("@")[0]


def _where(dataset: Any) -> str:
    return shown_path(str(dataset._describe().get("filepath", dataset)))


def _is_absent(dataset: AbstractDataset[Any, Any] | None) -> bool:
    """Whether a stored input that a run cannot do without is not there."""
    if dataset is None or isinstance(dataset, MemoryDataset | CachedDataset | OptionalDataset):
        return False
    return not dataset.exists()


def guard_secrets(context: KedroContext) -> None:
    """Refuse credentials that everybody knows, and keep the others out of what is logged."""
    loader: Any = context.config_loader
    try:
        credentials = loader["credentials"]
    except MissingConfigException:
        credentials = {}
    tracking_uri = loader["mlflow"]["server"]["mlflow_tracking_uri"]
    REDACTION.learn(credentials, tracking_uri)
    for name in (None, "mlflow"):
        for handler in logging.getLogger(name).handlers:
            handler.addFilter(REDACTION)
    check_credentials(credentials, tracking_uri)


def anchor_mlflow(context: KedroContext) -> None:
    """Make a relative SQLite path absolute, so that a notebook uses the same database as the command line."""
    loader: Any = context.config_loader
    settings = loader["mlflow"]
    uri = settings["server"]["mlflow_tracking_uri"]
    if uri.startswith(SQLITE) and not Path(path := uri.removeprefix(SQLITE)).is_absolute():
        database = context.project_path / path
        database.parent.mkdir(parents=True, exist_ok=True)
        settings["server"]["mlflow_tracking_uri"] = f"{SQLITE}{database.as_posix()}"
        loader["mlflow"] = settings


def shown_path(path: str) -> str:
    """A path as one would type it from here."""
    here = f"{Path.cwd().as_posix()}/"
    return path.removeprefix(here)
