"""Tracking in MLflow, also if MLflow does not answer.

A training run needs MLflow, which stores its model. It does not start without MLflow, and fails if MLflow stops answering. A
scoring or monitoring run continues without MLflow: it publishes its results and ends with `NotTrackedError`.
"""

import logging
import os
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import AbstractDataset, CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from churn.config import dumped
from churn.config.mlflow_environment import restored, use_project_settings
from churn.config.secrets import REDACTION
from churn.errors import ChurnError, NotTrackedError
from churn.hooks.logs import quieten
from churn.hooks.open_runs import OpenRuns, first_line, is_no_answer, why_absent
from churn.hooks.tracked_record import (
    NAME_TAG,
    NOTE_TAG,
    Made,
    description,
    first_name,
    inputs_of,
    named_runner,
    run_name,
)
from churn.operations.tracked_run import TRACKED_RUN
from churn.services.database import prepared
from churn.services.database_file import place_of
from churn.tables import flat
from churn.web.log_format import TRACE_ID

quieten()  # before this import, during which MLflow logs

from kedro_mlflow.framework.hooks.mlflow_hook import MlflowHook  # noqa: E402
from kedro_mlflow.io.catalog.switch_catalog_logging import switch_catalog_logging  # noqa: E402

logger = logging.getLogger(__name__)

Catalog = CatalogProtocol[str, AbstractDataset[Any, Any]]

MAX_PARAMETER_LENGTH = 6_000
# Tag of an experiment that decides which pages MLflow shows.
KIND_TAG = "mlflow.experimentKind"
# Data sets that cannot be saved without MLflow.
NEEDS_MLFLOW = {"churn_model", "champion@decision"}


class TrackingHook(MlflowHook):  # type: ignore[misc]
    """kedro-mlflow's hook that also logs typed parameters flat, allows several runs in one process, and bounds waits."""

    def __init__(self) -> None:
        super().__init__()
        self.run_id: str | None = None
        self._logged: dict[str, str] = {}
        self._absent: str | None = None
        self._open_runs: OpenRuns | None = None
        self._name = ""
        use_project_settings()

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Read the settings, and set up MLflow if it answers."""
        settings = context.config_loader["mlflow"]
        uri = settings["server"]["mlflow_tracking_uri"]
        cache = context.config_loader["globals"]["stores"]["cache"]
        self._open_runs = OpenRuns(context.project_path / cache / "runs", uri)
        self._absent = why_absent(uri)
        # MLflow stores its server there; the next run of this process would read it as the user's setting.
        with restored("MLFLOW_TRACKING_URI"):
            import mlflow

            mlflow.set_tracking_uri(uri)  # here, so that an error during the set-up names it
            if self._absent is None:
                experiment = settings.get("tracking", {}).get("experiment", {})
                location = (experiment.get("create_experiment_kwargs") or {}).get("artifact_location")
                artifacts = place_of(location, context.project_path) if location else None
                with prepared(uri, experiment.get("name", "Default"), artifacts):
                    super().after_context_created(context)
                return
            from kedro_mlflow.config.kedro_mlflow_config import KedroMlflowConfig

            self.mlflow_config = KedroMlflowConfig.model_validate(settings)
            self._already_active_mlflow = False
            context.__setattr__("mlflow", self.mlflow_config)  # as kedro-mlflow does

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: Catalog) -> None:
        """Start a new run: kedro-mlflow would reopen the previous one of this process.

        Raises:
            ChurnError: If MLflow does not answer and the run needs it.
        """
        self.run_id = None
        self._logged = {}
        TRACKING.found()
        TRACKED_RUN.begin(None)
        if self._absent:
            self._lose(self._absent, pipeline, catalog)
            return

        import mlflow

        def start() -> None:
            shown = REDACTION.within(named_runner(run_params))  # they become tags
            notes = self._open_runs
            experiment = self.mlflow_config.tracking.experiment._experiment.experiment_id
            with notes.opening(experiment) if notes is not None else nullcontext():
                try:
                    super(TrackingHook, self).before_pipeline_run(run_params=shown, pipeline=pipeline, catalog=catalog)
                finally:  # it may be interrupted while it logs
                    if not self._already_active_mlflow:
                        TRACKED_RUN.begin(self.run_id)
                if self.run_id is not None:
                    self._tell_kind(experiment)
                    tags = {"trace_id": trace_id} if (trace_id := os.environ.get(TRACE_ID)) else {}
                    if self._names_runs:
                        tags[NAME_TAG] = self._name = first_name(run_params.get("pipeline_names"))
                    mlflow.set_tags(tags)
                if self.run_id is not None and notes is not None:
                    notes.close_stale()
                    notes.opened(self.run_id)

        self._try(start, pipeline, catalog)

    @hook_impl
    def before_node_run(self, node: Node, catalog: Catalog, inputs: dict[str, Any], is_async: bool) -> None:
        """Log the parameters that the node uses, unless an earlier node did.

        kedro-mlflow reopens the run for every node but closes it once, so that it stays open in a longer-lived process.
        Here it is reopened only in threads without an active run.
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
            NotTrackedError: If MLflow stopped answering during the run. Everything else is done.
        """
        if not TRACKING.lost and self.run_id is not None:
            self._try(lambda: self._describe(pipeline, catalog), pipeline, catalog)
        if not TRACKING.lost:
            self._try(lambda: TRACKED_RUN.end("FINISHED"), pipeline, catalog)
        self._note_end(catalog, told=not TRACKING.lost)
        if TRACKING.lost:
            made: Any = catalog["results@publish"] if "results@publish" in pipeline.all_outputs() else None
            done = "published" if made is not None and made.published is not None else "finished"
            raise NotTrackedError(
                f"{done}, not tracked: {TRACKING.lost}. Everything else is done; the next run that reaches MLflow closes "
                "the open run there"
            )

    @hook_impl
    def on_pipeline_error(
        self, error: Exception, run_params: dict[str, Any], pipeline: Pipeline, catalog: Catalog
    ) -> None:
        """Mark the run as failed in MLflow. An error of MLflow must not hide the error of the run."""
        told = not TRACKING.lost
        if told:
            try:
                if self.run_id is not None and self._names_runs:
                    import mlflow

                    mlflow.MlflowClient().set_tag(self.run_id, NAME_TAG, f"{self._name}: failed")
                TRACKED_RUN.end("FAILED")
            except Exception as lost:
                logger.warning("The run could not be marked as failed in MLflow: %s", first_line(lost))
                told = False
        self._note_end(catalog, told=told)

    def _tell_kind(self, experiment: str) -> None:
        """Tell MLflow's pages that the experiment has trainings, once."""
        import mlflow

        known = self.mlflow_config.tracking.experiment._experiment.tags
        if KIND_TAG not in known:
            mlflow.MlflowClient().set_experiment_tag(experiment, KIND_TAG, "custom_model_development")

    @property
    def _names_runs(self) -> bool:
        """Whether runs get names here: not if the caller has opened the run, or ``mlflow.yml`` names it."""
        return not self._already_active_mlflow and self.mlflow_config.tracking.run.name is None

    def _describe(self, pipeline: Pipeline, catalog: Catalog) -> None:
        """Log what the run has made as its name and description, and which tables it has read."""
        import mlflow

        try:
            made = Made.of(pipeline, catalog)
            tags = {NOTE_TAG: description(made), NAME_TAG: run_name(made) if self._names_runs else None}
            client = mlflow.MlflowClient()
            for name, text in tags.items():
                if text and self.run_id is not None:
                    client.set_tag(self.run_id, name, REDACTION.text(text)[:MAX_PARAMETER_LENGTH])
            for table, context in inputs_of(made, catalog):
                mlflow.log_input(table, context=context)
        except Exception as error:
            if is_no_answer(error):
                raise
            # The run is done; that its page is less informative does not make it a failure.
            logger.warning("The run has no description in MLflow: %s", first_line(error))

    def _note_end(self, catalog: Catalog, *, told: bool) -> None:
        """Undo the settings of the run, and record whether it has ended in MLflow."""
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
        """Call MLflow. If it does not answer, continue without tracking where that is possible."""
        try:
            call()
        except Exception as error:
            if needed or not is_no_answer(error):
                raise
            self._lose(f"MLflow does not answer: {first_line(error)}", pipeline, catalog)

    def _lose(self, reason: str, pipeline: Pipeline | None, catalog: Catalog) -> None:
        if pipeline is not None and NEEDS_MLFLOW & pipeline.all_outputs():
            raise ChurnError(
                f"{reason}. A training run stores its model there: start the server, or correct MLFLOW_TRACKING_URI"
            )
        TRACKING.lose(reason)
        self._is_mlflow_enabled = False
        switch_catalog_logging(catalog, False)


class Tracking:
    """Whether the current run is tracked, for the hook and the data sets that log to MLflow.

    Attributes:
        lost: Why the run is not tracked; ``None`` while it is.
    """

    def __init__(self) -> None:
        self.lost: str | None = None

    def lose(self, reason: str) -> None:
        """Record that MLflow does not answer, and log it once."""
        if self.lost is None:
            logger.warning("This run is no longer tracked: %s", reason)
            self.lost = reason

    def found(self) -> None:
        """Reset for the next run."""
        self.lost = None


TRACKING = Tracking()


def flatten(parameters: dict[str, Any]) -> dict[str, str]:
    """Return nested or typed parameters as ``block.field`` to text, cut to MLflow's limit; empty blocks are left out."""
    return {name: str(value)[:MAX_PARAMETER_LENGTH] for name, value in flat(dumped(parameters)) if value != {}}
