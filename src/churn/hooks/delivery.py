"""The targets of the delivery: whether a run has them, checks before it, and its end if one of them failed."""

import logging
from collections.abc import Iterator
from typing import Any

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import AbstractDataset, CatalogProtocol
from kedro.pipeline import Pipeline

from churn.config import Delivery, check_parameters
from churn.config.secrets import REDACTION
from churn.delivery import PublishedAccounts, Target, TargetError
from churn.delivery.columns import fields_of
from churn.delivery.target import Rejects
from churn.errors import ChurnError, FaultsError, NotDeliveredError, NothingToDo
from churn.pipelines.boxes import DefaultPipeline

logger = logging.getLogger(__name__)

Catalog = CatalogProtocol[str, AbstractDataset[Any, Any]]

DELIVERIES, SOURCE, PUBLISHED, BOX = "deliveries", "results@delivery", "results@publish", "Delivery"


class DeliveryHook:
    """Checks the targets before a run, and ends it with an error if a delivery failed."""

    def __init__(self) -> None:
        self._settings = Delivery()

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Read the targets. Without any, the default run is without the delivery."""
        self._settings = check_parameters(context.config_loader["parameters"]).delivery
        DefaultPipeline.left_out = frozenset() if self._settings.targets else frozenset({BOX})

    # Before the run is begun in MLflow, which nothing would end.
    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, pipeline: Pipeline, catalog: Catalog) -> None:
        """Check the targets: parameters and credentials, and tables if there are results whose columns they get.

        A target that does not answer is logged: the others get what is theirs.

        Raises:
            NothingToDo: If a run of the delivery alone has no target.
            FaultsError: Lists the faults of all targets.
        """
        if DELIVERIES not in pipeline.all_outputs():
            return
        if not self._settings.targets:
            if {node.namespace for node in pipeline.nodes} == {BOX}:
                raise NothingToDo("Nothing is delivered: delivery.targets is empty (docs/delivery.md).")
            return
        deliveries: Any = catalog[DELIVERIES]
        targets = deliveries.targets(self._settings)
        accounts: PublishedAccounts | None = None
        if PUBLISHED not in pipeline.all_outputs() and catalog[SOURCE].exists():
            accounts = catalog[SOURCE].load().accounts
        faults = []
        for target in targets:
            found = target.faults()
            if not found and accounts is not None:
                found = list(_differences(target, accounts, Rejects(deliveries.rejected(target.settings.name), 0)))
            faults += [f"{target.settings.name}: {fault}" for fault in found]
        if faults:
            raise FaultsError("targets of the delivery", faults)

    @hook_impl(trylast=True)
    def after_pipeline_run(self, pipeline: Pipeline, catalog: Catalog) -> None:
        """Raise an error if a delivery failed. Everything else is done.

        Raises:
            NotDeliveredError: Names the targets, with the reasons.
        """
        if DELIVERIES not in pipeline.all_outputs():
            return
        made: Any = catalog[DELIVERIES]
        failed = {each.target: each.reason for each in made.outcomes or [] if each.status == "failed"}
        if failed:
            reasons = "".join(f"\n  - {name}: {REDACTION.text(reason)}" for name, reason in failed.items())
            count = f"{len(failed)} of {len(made.outcomes)} targets"
            raise NotDeliveredError(
                f"{count} did not get all of the results; the next run goes on where this one ended.{reasons}"
            )


def _differences(target: Target, accounts: PublishedAccounts, rejects: Rejects) -> Iterator[str]:
    """Yield what is wrong with the columns of a target, and with its table."""
    try:
        fields = fields_of(target.settings, accounts.schema, accounts.id, flagged=target.flagged)
    except ChurnError as error:
        yield str(error)
        return
    try:
        with target.session(fields, rejects) as session:
            yield from session.faults()
    except TargetError as error:
        logger.warning("%s: the target does not answer yet: %s", target.settings.name, error)
