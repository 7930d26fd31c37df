"""What happens around every run: configuration checked first, tracking, a summary at the end."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from kedro.config import MissingConfigException
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines
from kedro.io import AbstractDataset, CachedDataset, CatalogProtocol, MemoryDataset
from kedro.pipeline import Pipeline

from churn.console import use_project_logging
from churn.datasets.optional import OptionalDataset
from churn.errors import FaultsError
from churn.notifications import Event, Notifier, ways_out
from churn.parameters import check_parameters
from churn.secrecy import REDACTION, check_credentials
from churn.spark import session
from churn.spark.session import SparkSettings

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
    return _shown(str(dataset._describe().get("filepath", dataset)))


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


class SparkHook:
    """Starts Spark before a run that has Spark frames, and stops it afterwards."""

    def __init__(self) -> None:
        self._settings: SparkSettings | None = None
        self._session: Any = None

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Read ``spark.yml``, where the environment has one."""
        try:
            content = context.config_loader["spark"]
        except MissingConfigException:
            content = {}
        self._settings = SparkSettings.read(content) if content else None

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: Catalog) -> None:
        """Start a session with these settings; one that is there already is used as it is, and stays."""
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
    """Whether a data set gives Spark frames: by its module's name, as its class may need pyspark."""
    return any(part.startswith("spark") for part in type(dataset).__module__.split("."))


class SummaryHook:
    """Says in a few lines what a run made and where to look."""

    @hook_impl
    def after_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: Catalog) -> None:
        """Print the summary of what this run's pipelines made."""
        made = pipeline.all_outputs()
        lines: list[tuple[str, str]] = []
        # A job in a container has none, and its folder goes with it.
        in_checkout = Path("Makefile").is_file()
        if "training_metrics" in made:
            folder = _folder(catalog["promotion_decision"]) if in_checkout else "with the run in MLflow"
            lines += _model_lines(catalog["training_metrics"].load(), folder)
        if "promotion_decision" in made:
            lines.append(("champion", catalog["promotion_decision"].load()["reason"]))
        if "results@publish" in made:
            lines += _result_lines(catalog["results@publish"])
        if "health_report" in made:
            lines += _health_lines(catalog["results@latest"])
        if lines:
            lines += _look_lines(in_checkout)
            width = max(len(name) for name, _ in lines)
            click.echo("\n" + "\n".join(f"  {name:<{width}}  {text}" for name, text in lines) + "\n")


class NotificationHook:
    """Tells of what a run made, or of its failure."""

    def __init__(self) -> None:
        self._notifier: Notifier | None = None

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Read who is told of what."""
        self._notifier = notifier_of(context)

    # First, as tracking may end the run here.
    @hook_impl(tryfirst=True)
    def after_pipeline_run(self, pipeline: Pipeline, catalog: Catalog) -> None:
        """Tell of models, scores and alarms."""
        if self._notifier is not None:
            for event in _events(pipeline.all_outputs(), catalog):
                self._notifier.tell(event)

    @hook_impl(tryfirst=True)
    def on_pipeline_error(self, error: Exception, run_params: dict[str, Any]) -> None:
        """Tell of a failure."""
        if self._notifier is not None:
            names = ", ".join(run_params.get("pipeline_names") or ["the whole pipeline"])
            cause = error.__cause__ or error
            self._notifier.tell(Event("failed", f"{names} failed: {cause}"))


def notifier_of(context: KedroContext) -> Notifier:
    """Who is told of what in a project."""
    loader: Any = context.config_loader
    settings = check_parameters(loader["parameters"]).notifications
    try:
        entry = loader["credentials"].get("notifications") or {}
    except MissingConfigException:
        entry = {}
    folder = context.project_path / loader["globals"]["stores"]["cache"]
    return Notifier(settings, ways_out(entry, settings), folder.as_posix())


def _events(made: set[str], catalog: Catalog) -> Iterator[Event]:
    """What people want to know of what a run made."""
    if "promotion_decision" in made:
        decision = catalog["promotion_decision"].load()
        version = f"version {decision['version']}"
        if "training_metrics" in made:
            metrics = catalog["training_metrics"].load()
            yield Event("trained", f"A model was trained, {version}: test ROC AUC {metrics['test_roc_auc']:.4f}.")
        yield Event(
            "promoted" if decision["promote"] else "not_promoted", f"{version.capitalize()}: {decision['reason']}"
        )
    published: Any = catalog["results@publish"] if "results@publish" in made else None
    if published is not None and (manifest := published.published) is not None:
        yield Event(
            "scored",
            f"{manifest['rows']:,} accounts were scored with model version {manifest['model']['version']}: "
            f"{manifest['at_risk']:,} at risk, {manifest['to_act_on']:,} to act on; run {manifest['run_id']}.",
        )
    if "health_report" in made:
        results: Any = catalog["results@latest"]
        run_id = results.manifest()["run_id"]
        health = results.document(run_id, "health_metrics.json")
        if health["status"] == "alarm":
            yield Event("health_alarm", f"The scores of run {run_id} raise an alarm. {'. '.join(health['alarms'])}.")


def _model_lines(metrics: dict[str, float], folder: str) -> list[tuple[str, str]]:
    text = f"test ROC AUC {metrics['test_roc_auc']:.4f}"
    if "oracle_roc_auc" in metrics:
        reached = metrics["test_roc_auc_of_oracle"]
        text += f", {reached:.1%} of the best possible {metrics['oracle_roc_auc']:.4f}"
    return [("model", text), ("plots", folder)]


def _result_lines(results: Any) -> list[tuple[str, str]]:
    manifest = results.published
    if manifest is None:
        return [("accounts", "nothing is new: all files of the table were scored before")]
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


def _look_lines(in_checkout: bool) -> list[tuple[str, str]]:
    """Where runs and models are seen, on the server or on the page that a command opens, and what else make shows."""
    import mlflow

    address = str(REDACTION.within(mlflow.get_tracking_uri()))
    page = address if address.startswith("http") else "make mlflow" if in_checkout else None
    more = "; make viz: the pipelines; make notebook: a walk through" if in_checkout else ""
    return [("look", f"{page}: runs and models{more}")] if page else []


def _folder(dataset: Any) -> str:
    return _shown(str(Path(str(dataset._filepath)).parent))


def _shown(path: str) -> str:
    """A path as one would type it from here."""
    here = f"{Path.cwd().as_posix()}/"
    return path.removeprefix(here)
