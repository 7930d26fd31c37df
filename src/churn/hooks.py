"""What happens around every run: configuration checked first, tracking, a summary at the end."""

import os
from pathlib import Path
from typing import Any

import click
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines
from kedro.io import AbstractDataset, CachedDataset, CatalogProtocol, MemoryDataset
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from pydantic import BaseModel

from churn.console import quieten, use_project_logging
from churn.datasets.optional import OptionalDataset
from churn.errors import FaultsError
from churn.parameters import check_parameters

quieten()  # before this import, during which MLflow speaks up

from kedro_mlflow.framework.hooks.mlflow_hook import MlflowHook  # noqa: E402

Catalog = CatalogProtocol[str, AbstractDataset[Any, Any]]

SQLITE = "sqlite:///"
MAX_PARAMETER_LENGTH = 6_000

# MLflow's settings for this project, unless the environment says otherwise.
MLFLOW_DEFAULTS = {
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # A model needs what `pip_requirements` names, not the development environment.
    "MLFLOW_UV_AUTO_DETECT": "false",
}


class PreflightHook:
    """Checks parameters and inputs, and completes the configuration, before anything is built or run."""

    @hook_impl(tryfirst=True)
    def after_context_created(self, context: KedroContext) -> None:
        """Read the project's logging, refuse faulty parameters and anchor MLflow's database in the project."""
        use_project_logging(context.project_path)
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
    return _shown(str(dataset._describe().get("filepath", dataset)))


def _is_absent(dataset: AbstractDataset[Any, Any] | None) -> bool:
    """Whether a stored input that a run cannot do without is not there."""
    if dataset is None or isinstance(dataset, MemoryDataset | CachedDataset | OptionalDataset):
        return False
    return not dataset.exists()


def anchor_mlflow(context: KedroContext) -> None:
    """Make a relative SQLite path absolute, so that a notebook uses the same database as the command line."""
    loader: Any = context.config_loader
    loader.config_patterns.setdefault("mlflow", ["mlflow*", "mlflow*/**", "**/mlflow*"])
    settings = loader["mlflow"]
    uri = settings["server"]["mlflow_tracking_uri"]
    if uri.startswith(SQLITE) and not Path(path := uri.removeprefix(SQLITE)).is_absolute():
        database = context.project_path / path
        database.parent.mkdir(parents=True, exist_ok=True)
        settings["server"]["mlflow_tracking_uri"] = f"{SQLITE}{database.as_posix()}"
        loader["mlflow"] = settings


class TrackingHook(MlflowHook):  # type: ignore[misc]
    """kedro-mlflow's hook, with typed parameters logged flat and fit for several runs in one process."""

    def __init__(self) -> None:
        super().__init__()
        self.run_id: str | None = None
        self._logged: dict[str, str] = {}
        for name, value in MLFLOW_DEFAULTS.items():
            os.environ.setdefault(name, value)

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: Catalog) -> None:
        """Start a run, forgetting the previous one of this process: kedro-mlflow would open it again."""
        self.run_id = None
        self._logged = {}
        super().before_pipeline_run(run_params=run_params, pipeline=pipeline, catalog=catalog)

    @hook_impl
    def before_node_run(self, node: Node, catalog: Catalog, inputs: dict[str, Any], is_async: bool) -> None:
        """Log the parameters that the node uses, unless an earlier node did.

        kedro-mlflow opens the run again for every node and closes it once, so that it stays open in a process that
        goes on; here it is opened again only in a thread that does not have it.
        """
        if self.run_id is None:
            return
        import mlflow

        active = mlflow.active_run()
        if active is None or active.info.run_id != self.run_id:
            mlflow.start_run(run_id=self.run_id, nested=True)
        used = {name.removeprefix("params:"): value for name, value in inputs.items() if name.startswith("params:")}
        fresh = {key: value for key, value in flatten(used).items() if self._logged.get(key) != value}
        if fresh:
            mlflow.log_params(fresh)
            self._logged |= fresh


def flatten(parameters: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested or typed parameters as ``block.field`` to text, at most as long as MLflow takes."""
    flat: dict[str, str] = {}
    for key, value in parameters.items():
        plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
        if isinstance(plain, dict):
            flat |= flatten(plain, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = str(plain)[:MAX_PARAMETER_LENGTH]
    return flat


class SummaryHook:
    """Says in a few lines what a run made and where to look."""

    @hook_impl
    def after_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: Catalog) -> None:
        """Print the summary of what this run's pipelines made."""
        made = pipeline.all_outputs()
        lines: list[tuple[str, str]] = []
        if "training_metrics" in made:
            lines += _model_lines(catalog["training_metrics"].load(), _folder(catalog["training_metrics"]))
        if "promotion_decision" in made:
            lines.append(("champion", catalog["promotion_decision"].load()["reason"]))
        if "results@publish" in made:
            lines += _result_lines(catalog["results@latest"])
        if "health_report" in made:
            lines += _health_lines(catalog["results@latest"])
        if lines:
            lines.append(
                ("look", "make mlflow: runs and models; make viz: the pipelines; make notebook: a walk through")
            )
            width = max(len(name) for name, _ in lines)
            click.echo("\n" + "\n".join(f"  {name:<{width}}  {text}" for name, text in lines) + "\n")


def _model_lines(metrics: dict[str, float], folder: str) -> list[tuple[str, str]]:
    text = f"test ROC AUC {metrics['test_roc_auc']:.4f}"
    if "oracle_roc_auc" in metrics:
        reached = metrics["test_roc_auc_of_oracle"]
        text += f", {reached:.1%} of the best possible {metrics['oracle_roc_auc']:.4f}"
    return [("model", text), ("plots", folder)]


def _result_lines(results: Any) -> list[tuple[str, str]]:
    manifest = results.manifest()
    at_risk = f"{manifest['at_risk']:,} at risk (probability of {manifest['threshold']:g} or more)"
    version = f"model version {manifest['model']['version']}"
    return [
        ("accounts", f"{manifest['rows']:,} scored, {at_risk}, {version}"),
        (
            "act on",
            f"{manifest['to_act_on']:,} accounts, which should bring {manifest['expected_profit']:,.0f}: "
            + _shown(f"{results.folder(manifest['run_id'])}/retention_list.csv"),
        ),
        ("scores", _shown(f"{results.folder(manifest['run_id'])}/inference_result.csv")),
    ]


def _health_lines(results: Any) -> list[tuple[str, str]]:
    run_id = results.manifest()["run_id"]
    health = results.document(run_id, "health_metrics.json")
    status = {"ok": "healthy", "watch": "to be watched", "alarm": "alarm"}[health["status"]]
    findings = [("", sentence) for sentence in [*health["alarms"], *health["to_watch"]]]
    return [("health", status), *findings, ("report", _shown(f"{results.folder(run_id)}/health_report.html"))]


def _folder(dataset: Any) -> str:
    return _shown(str(Path(str(dataset._filepath)).parent))


def _shown(path: str) -> str:
    """A path as one would type it from here."""
    here = f"{Path.cwd().as_posix()}/"
    return path.removeprefix(here)
