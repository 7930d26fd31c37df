"""Tracking in MLflow, and what happens where MLflow does not answer.

A training run needs MLflow, which keeps its model: it does not start without, and fails where MLflow is lost. A run that
scores or monitors goes on without: its results are published and it ends with `NotTrackedError`.
"""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import AbstractDataset, CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from pydantic import BaseModel

from churn.config.secrets import REDACTION
from churn.errors import ChurnError, NotTrackedError
from churn.hooks.logs import quieten
from churn.hooks.open_runs import OpenRuns, first_line, is_no_answer, why_absent
from churn.operations.tracked_run import TRACKED_RUN
from churn.tables import flat

quieten()  # before this import, during which MLflow speaks up

from kedro_mlflow.framework.hooks.mlflow_hook import MlflowHook  # noqa: E402
from kedro_mlflow.io.catalog.switch_catalog_logging import switch_catalog_logging  # noqa: E402

logger = logging.getLogger(__name__)

Catalog = CatalogProtocol[str, AbstractDataset[Any, Any]]

MAX_PARAMETER_LENGTH = 6_000
# What a run without MLflow cannot make.
NEEDS_MLFLOW = {"churn_model", "champion@decision"}

# MLflow's settings for this project, unless the environment says otherwise.
DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # A server that passes artifacts on is asked for them, not its bucket, which may have an address of the server's own.
    "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "false",
    "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": "false",
    # A server that does not answer is waited for seconds, not the four minutes of MLflow's own settings.
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    # A model needs what `pip_requirements` names, not the development environment.
    "MLFLOW_UV_AUTO_DETECT": "false",
}
# Settings that hold whatever the environment says.
ALWAYS = {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}


class TrackingHook(MlflowHook):  # type: ignore[misc]
    """kedro-mlflow's hook, with typed parameters logged flat, fit for several runs in one process, and bounded waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.run_id: str | None = None
        self._logged: dict[str, str] = {}
        self._absent: str | None = None
        self._open_runs: OpenRuns | None = None
        for name, value in DEFAULTS.items():
            os.environ.setdefault(name, value)
        os.environ.update(ALWAYS)

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Read the settings, and set MLflow up if it answers."""
        settings = context.config_loader["mlflow"]
        uri = settings["server"]["mlflow_tracking_uri"]
        cache = context.config_loader["globals"]["stores"]["cache"]
        self._open_runs = OpenRuns(context.project_path / cache / "runs", uri)
        self._absent = why_absent(uri)
        with _kept("MLFLOW_TRACKING_URI"):
            if self._absent is None:
                super().after_context_created(context)
                return
            import mlflow
            from kedro_mlflow.config.kedro_mlflow_config import KedroMlflowConfig

            mlflow.set_tracking_uri(uri)
            self.mlflow_config = KedroMlflowConfig.model_validate(settings)
            self._already_active_mlflow = False
            context.__setattr__("mlflow", self.mlflow_config)  # as kedro-mlflow does

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: Catalog) -> None:
        """Start a run, forgetting the previous one of this process: kedro-mlflow would open it again.

        Raises:
            ChurnError: If MLflow does not answer and the run cannot do without.
        """
        self.run_id = None
        self._logged = {}
        TRACKING.found()
        TRACKED_RUN.begin(None)
        if self._absent:
            self._lose(self._absent, pipeline, catalog)
            return

        def start() -> None:
            shown = REDACTION.within(run_params)  # they become tags
            try:
                super(TrackingHook, self).before_pipeline_run(run_params=shown, pipeline=pipeline, catalog=catalog)
            finally:  # it may be interrupted while it logs
                if not self._already_active_mlflow:
                    TRACKED_RUN.begin(self.run_id)
            if self.run_id is not None and self._open_runs is not None:
                self._open_runs.close_stale()
                self._open_runs.opened(self.run_id)

        self._try(start, pipeline, catalog)

    @hook_impl
    def before_node_run(self, node: Node, catalog: Catalog, inputs: dict[str, Any], is_async: bool) -> None:
        """Log the parameters that the node uses, unless an earlier node did.

        kedro-mlflow opens the run again for every node and closes it once, so that it stays open in a process that
        goes on; here it is opened again only in a thread that does not have it.
        """
        if self.run_id is None or TRACKING.lost:
            return
        import mlflow

        used = {name.removeprefix("params:"): value for name, value in inputs.items() if name.startswith("params:")}
        fresh = {key: value for key, value in flatten(used).items() if self._logged.get(key) != value}

        def log() -> None:
            active = mlflow.active_run()
            if active is None or active.info.run_id != self.run_id:
                mlflow.start_run(run_id=self.run_id, nested=True)
            if fresh:
                mlflow.log_params(fresh)
                self._logged.update(fresh)

        self._try(log, None, catalog, needed=NEEDS_MLFLOW & set(node.outputs) != set())

    @hook_impl(trylast=True)
    def after_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: Catalog) -> None:
        """End the run.

        Raises:
            NotTrackedError: If MLflow was lost on the way; everything else is done.
        """
        if not TRACKING.lost:
            self._try(lambda: TRACKED_RUN.end("FINISHED"), pipeline, catalog)
        self._note_end(catalog, told=not TRACKING.lost)
        if TRACKING.lost:
            done = "published" if "results@publish" in pipeline.all_outputs() else "finished"
            raise NotTrackedError(
                f"{done}, not tracked: {TRACKING.lost}. Everything but the tracking is done; the next run that reaches "
                "MLflow closes what this one left open there"
            )

    @hook_impl
    def on_pipeline_error(
        self, error: Exception, run_params: dict[str, Any], pipeline: Pipeline, catalog: Catalog
    ) -> None:
        """Mark the run as failed, as far as MLflow answers: what went wrong must not be hidden by that."""
        told = not TRACKING.lost
        if told:
            try:
                TRACKED_RUN.end("FAILED")
            except Exception as lost:
                logger.warning("MLflow was not told that the run failed: %s", first_line(lost))
                told = False
        self._note_end(catalog, told=told)

    def _note_end(self, catalog: Catalog, *, told: bool) -> None:
        """Undo what was set for the run, and note whether MLflow was told that it is over."""
        if not self._is_mlflow_enabled:
            switch_catalog_logging(catalog, True)
        elif self._already_active_mlflow:
            logger.warning(
                "The run '%s' was already opened before launching 'kedro run' so it is not closed. You should close it manually.",
                self.run_id,
            )
        if self.run_id is not None and self._open_runs is not None:
            note = self._open_runs.closed if told else self._open_runs.left_open
            note(self.run_id)

    def _try(self, call: Callable[[], None], pipeline: Pipeline | None, catalog: Catalog, needed: bool = False) -> None:
        """Make calls of MLflow; where it does not answer, go on without if that is possible."""
        try:
            call()
        except Exception as error:
            if needed or not is_no_answer(error):
                raise
            self._lose(f"MLflow does not answer: {first_line(error)}", pipeline, catalog)

    def _lose(self, reason: str, pipeline: Pipeline | None, catalog: Catalog) -> None:
        if pipeline is not None and NEEDS_MLFLOW & pipeline.all_outputs():
            raise ChurnError(
                f"{reason}. A training run keeps its model there: start the server, or set MLFLOW_TRACKING_URI to the right one"
            )
        TRACKING.lose(reason)
        self._is_mlflow_enabled = False
        switch_catalog_logging(catalog, False)


@contextmanager
def _kept(variable: str) -> Iterator[None]:
    """Leave a variable of the environment as it is.

    MLflow notes there which server it was told; the next run of this process would take that for the user's wish.
    """
    before = os.environ.get(variable)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(variable, None)
        else:
            os.environ[variable] = before


class Tracking:
    """Whether the present run is tracked: the hook and the data sets that log to MLflow agree on it here.

    Attributes:
        lost: Why it is not, if MLflow does not answer.
    """

    def __init__(self) -> None:
        self.lost: str | None = None

    def lose(self, reason: str) -> None:
        """Note that MLflow does not answer, and say so once."""
        if self.lost is None:
            logger.warning("This run is not tracked any more: %s", reason)
            self.lost = reason

    def found(self) -> None:
        """Begin anew with the next run."""
        self.lost = None


TRACKING = Tracking()


def flatten(parameters: dict[str, Any]) -> dict[str, str]:
    """Nested or typed parameters as ``block.field`` to text, at most as long as MLflow takes; empty blocks are left out."""
    plain = {
        key: value.model_dump(mode="json") if isinstance(value, BaseModel) else value
        for key, value in parameters.items()
    }
    return {name: str(value)[:MAX_PARAMETER_LENGTH] for name, value in flat(plain) if value != {}}
