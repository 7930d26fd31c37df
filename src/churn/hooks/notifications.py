"""Notifications about the results of a run, or its failure."""

import logging
from collections.abc import Iterator
from typing import Any

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import AbstractDataset, CatalogProtocol
from kedro.pipeline import Pipeline

from churn.config.secrets import REDACTION
from churn.operations.channels import Event
from churn.operations.notifications import Notifier, notifier_of

logger = logging.getLogger(__name__)

Catalog = CatalogProtocol[str, AbstractDataset[Any, Any]]


class NotificationHook:
    """Sends notifications about the results of a run, or its failure."""

    def __init__(self) -> None:
        self._notifier: Notifier | None = None

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Read the settings of notifications."""
        self._notifier = notifier_of(context)

    # First, because tracking may raise an exception in this hook.
    @hook_impl(tryfirst=True)
    def after_pipeline_run(self, pipeline: Pipeline, catalog: Catalog) -> None:
        """Send notifications about models, scores and alarms."""
        if self._notifier is None:
            return
        try:
            for event in _events(pipeline.all_outputs(), catalog):
                self._notifier.tell(event)
        except Exception as error:  # the run has published its results
            logger.warning("The notification could not be made: %s", REDACTION.text(f"{type(error).__name__}: {error}"))

    @hook_impl(tryfirst=True)
    def on_pipeline_error(self, error: Exception, run_params: dict[str, Any]) -> None:
        """Send a notification about a failure."""
        if self._notifier is not None:
            names = ", ".join(run_params.get("pipeline_names") or ["the whole pipeline"])
            cause = error.__cause__ or error
            self._notifier.tell(Event("failed", f"{names} failed: {cause}"))


def _events(made: set[str], catalog: Catalog) -> Iterator[Event]:
    """Return the events for the data sets that a run made."""
    if "promotion_decision" in made:
        decision = catalog["promotion_decision"].load()
        version = f"version {decision['version']}"
        if "training_metrics" in made:
            metrics = catalog["training_metrics"].load()
            yield Event("trained", f"A model was trained, {version}: test ROC AUC {metrics['test_roc_auc']:.4f}.")
        if not decision["unchanged"]:
            yield Event(
                "promoted" if decision["promote"] else "not_promoted", f"{version.capitalize()}: {decision['reason']}"
            )
    published: Any = catalog["results@publish"] if "results@publish" in made else None
    # A run that was overtaken is not announced: the one that is current announces itself.
    if published is not None and (manifest := published.published) is not None and published.overtaken_by() is None:
        yield Event(
            "scored",
            f"{manifest['rows']:,} accounts were scored with model version {manifest['model']['version']}: "
            f"{manifest['at_risk']:,} at risk, {manifest['to_act_on']:,} to act on; run {manifest['run_id']}.",
        )
    delivered: Any = catalog["deliveries"] if "deliveries" in made else None
    for each in (delivered.outcomes or []) if delivered is not None else []:
        if each.status == "failed":
            yield Event("delivery_failed", f"The delivery to {each.target} failed: {each.reason}.")
    report: Any = catalog["health_report"] if "health_report" in made else None
    if report is not None and (saved := report.saved) is not None and saved["metrics"]["status"] == "alarm":
        alarms = ". ".join(saved["metrics"]["alarms"])
        of = f"run {saved['run_id']}" if saved["run_id"] else f"the requests of {saved['day']}"
        yield Event("health_alarm", f"The scores of {of} raise an alarm. {alarms}.")
