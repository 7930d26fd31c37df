"""Checks of configuration and inputs before a run."""

import logging
from collections.abc import Mapping, Set
from contextlib import suppress
from pathlib import Path
from typing import Any

from kedro.config import MissingConfigException
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines
from kedro.io import AbstractDataset, CachedDataset, CatalogProtocol, MemoryDataset
from kedro.pipeline import Pipeline

from churn.config import Parameters, check_parameters, idle_parameters
from churn.config.console import shown_path
from churn.config.secrets import REDACTION, check_credentials
from churn.datasets.optional import OptionalDataset
from churn.errors import FaultsError, closest
from churn.hooks.logs import use_project_logging
from churn.retention.wording import check_reasons
from churn.services.database_file import anchored
from churn.web.log_format import FORMAT, use_log_format

Catalog = CatalogProtocol[str, AbstractDataset[Any, Any]]

# Folders of `stores` in globals.yml, and of the cache, that are made for the owner only.
PRIVATE = ("staging", "artifacts", "results", "metrics", "reports")
PRIVATE_CACHES = ("", "models", "runs")

logger = logging.getLogger(__name__)


class PreflightHook:
    """Checks parameters and inputs, and completes the configuration, before a run."""

    def __init__(self) -> None:
        self._parameters: Parameters | None = None
        self._own_table = False
        self._model = ""
        self._stores: Mapping[str, Any] = {}
        self._project = Path()

    @hook_impl(tryfirst=True)
    def after_context_created(self, context: KedroContext) -> None:
        """Configure logging, check credentials and parameters, and make the path of MLflow's database absolute."""
        use_project_logging(context.project_path)
        loader: Any = context.config_loader
        use_log_format(loader.variable(FORMAT))
        guard_secrets(context)  # first, so that no message shows a secret
        self._parameters = check_parameters(context.config_loader["parameters"])
        settings = context.config_loader["globals"]
        self._own_table = bool(settings.get("source_accounts"))
        self._model = settings["model"]["name"]
        self._stores, self._project = settings["stores"], context.project_path
        anchor_mlflow(context)

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: Catalog) -> None:
        """Check that every input exists, and that every output is stored or read.

        Parameters that are set and have no effect are logged.

        Raises:
            FaultsError: Lists the missing inputs with the pipeline or node that makes each, or the outputs that no catalog
                entry stores and no node reads, or the faulty sentences for reasons.
        """
        inputs = [name for name in sorted(pipeline.inputs()) if not _is_parameter(name)]
        faults = (_input_fault(name, catalog) for name in inputs)
        if absent := list(
            dict.fromkeys(fault for fault in faults if fault)
        ):  # a file that is read in two ways is one fault
            raise FaultsError("inputs of this run", [*absent, *_without_model(inputs, catalog, self._model)])
        read = {_without_transcoding(name) for made in pipelines.values() for name in made.all_inputs()}
        lost = [
            name
            for name in sorted(pipeline.outputs())
            if name not in catalog and _without_transcoding(name) not in read
        ]
        if lost:
            raise FaultsError(
                "outputs of this run",
                [f"no catalog entry stores {name} and no node reads it{_meant(name, catalog)}" for name in lost],
            )
        if self._parameters is not None:
            _check_use(self._parameters, pipeline, own_table=self._own_table)
        if self._stores:
            make_private_folders(self._stores, self._project)


def _check_use(parameters: Parameters, pipeline: Pipeline, *, own_table: bool) -> None:
    """Check the parameters that the run uses, and log those that are set and have no effect.

    Raises:
        ParametersError: If sentences for reasons are faulty, which scoring would find after training.
    """
    used = {name.removeprefix("params:") for name in pipeline.inputs()} | {"notifications"}
    if "reasons" in used:
        check_reasons(parameters)
    for name, sentence in idle_parameters(parameters, own_table=own_table).items():
        if name.partition(".")[0] in used:
            logger.warning(sentence)


def _is_parameter(name: str) -> bool:
    return name == "parameters" or name.startswith("params:")


def _input_fault(name: str, catalog: Catalog) -> str | None:
    """Return what is wrong with an input of a run; ``None`` if nothing is. Inputs without a catalog entry come from nodes."""
    if name in catalog:
        dataset = catalog.get(name)
        if not _is_absent(dataset):
            return None
        return f"{_without_transcoding(name)} is not there yet ({_where(dataset)}); {_maker(name)}"
    for made in pipelines.values():
        for node in made.nodes:
            if name in node.outputs:
                return f"{name} is in memory only and not kept between runs; --from-nodes {node.short_name} makes it"
    return f"{name} is in no catalog entry and no node makes it{_meant(name, catalog)}"


def _without_model(inputs: list[str], catalog: Catalog, model: str) -> list[str]:
    """Return why there are no results to read, if gates have refused the only model; empty otherwise."""
    if not any(_without_transcoding(name) == "results" and _is_absent(catalog.get(name)) for name in inputs):
        return []
    from churn.registry.uri import last_unpromoted

    try:
        refused = last_unpromoted(model)
    except Exception as error:  # what is absent is known without MLflow
        logger.debug("MLflow does not return the version that was trained last: %s", error)
        return []
    return [f"there is no champion to make results with: {refused.sentence}; churn status says why"] if refused else []


def _meant(name: str, catalog: Catalog) -> str:
    """Return a hint with the data set name closest to an unknown one; empty if none is close."""
    used: Set[str] = {known for made in pipelines.values() for known in made.datasets()}
    known = {each for each in used | set(catalog.keys()) if not _is_parameter(each)}
    close = closest(name, sorted(known))
    return f"; did you mean {close}?" if close else ""


def _maker(dataset_name: str) -> str:
    """Return the command that makes a data set."""
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
    """Return whether a required stored input is missing."""
    if dataset is None or isinstance(dataset, MemoryDataset | CachedDataset | OptionalDataset):
        return False
    return not dataset.exists()


def guard_secrets(context: KedroContext) -> None:
    """Refuse well-known credentials, and mask all others in the logs."""
    loader: Any = context.config_loader
    try:
        credentials = loader["credentials"]
    except MissingConfigException:
        credentials = {}
    tracking_uri = loader["mlflow"]["server"]["mlflow_tracking_uri"]
    source = loader["globals"].get("source_accounts") or ""
    REDACTION.learn(credentials, tracking_uri, source if isinstance(source, str) else str(source.get("path", "")))
    for name in (None, "mlflow"):
        for handler in logging.getLogger(name).handlers:
            handler.addFilter(REDACTION)
    check_credentials(credentials, tracking_uri)


def anchor_mlflow(context: KedroContext) -> None:
    """Make a relative SQLite path absolute, so that a notebook uses the same database as the command line."""
    loader: Any = context.config_loader
    settings = loader["mlflow"]
    server = settings["server"]
    server["mlflow_tracking_uri"] = anchored(server["mlflow_tracking_uri"], context.project_path)
    loader["mlflow"] = settings


def make_private_folders(stores: Mapping[str, Any], project_path: Path) -> None:
    """Make the folders of stores that do not exist yet, with the rights of the owner only: they get data about persons.

    Folders that exist keep their rights, and so does everything that an earlier run or the user made.
    """
    places = [stores.get(name) for name in PRIVATE] + [f"{stores['cache']}/{name}" for name in PRIVATE_CACHES]
    for place in places:
        if place and "://" not in str(place):
            with suppress(OSError):  # what needs the folder reports it
                (project_path / str(place)).mkdir(mode=0o700, parents=True, exist_ok=True)
