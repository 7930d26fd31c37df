"""Training only if something has changed."""

import logging
from typing import Any

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import AbstractDataset, CatalogProtocol
from kedro.pipeline import Pipeline

from churn.config import Parameters, check_parameters
from churn.errors import ChurnError, NothingToDo
from churn.registry.fingerprint import Fingerprint, fingerprint_of_training

logger = logging.getLogger(__name__)

Catalog = CatalogProtocol[str, AbstractDataset[Any, Any]]

TABLE, SOURCE, MADE = "training_accounts@fingerprint", "training_source", "training_fingerprint"


class RetrainingHook:
    """With ``training.only_if_changed``, ends a run that would train the same model again."""

    def __init__(self) -> None:
        self._parameters: Parameters | None = None
        self._model = ""

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Read the parameters and the name of the registered model."""
        parameters = context.config_loader["parameters"]
        self._parameters = None
        if (parameters.get("training") or {}).get("only_if_changed"):
            self._parameters = check_parameters(parameters)
            self._model = context.config_loader["globals"]["model"]["name"]

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: Catalog) -> None:
        """Compare the fingerprint with those of the champion and of the last training, and log the differences.

        Raises:
            NothingToDo: If one of them has the same fingerprint, but for a version that ``promotion.force`` is to promote.
            ChurnError: If the stored features were computed from another table.
        """
        if self._parameters is None or MADE not in pipeline.all_outputs():
            return
        if TABLE.partition("@")[0] in {name.partition("@")[0] for name in pipeline.all_outputs()}:
            logger.warning(
                "training.only_if_changed has no effect in a run that also makes the training table; run "
                "kedro run --pipelines feature_engineering,training"
            )
            return
        if not catalog[TABLE].exists():
            return  # the preflight check reports it
        data = catalog[TABLE].load()
        if SOURCE not in pipeline.all_outputs() and catalog[SOURCE].exists():
            _check_features(catalog[SOURCE].load(), data)
        known = self._parameters
        self._compare(fingerprint_of_training(data, known.accounts, known.feature_engineering, known.training))

    def _compare(self, now: Fingerprint) -> None:
        from churn.registry.uri import last_unpromoted
        from churn.registry.versions import fingerprint_of, trained_versions

        versions = trained_versions(self._model, "champion")
        same = next((trained for trained in versions if trained.fingerprint == now.sha256), None)
        refused = last_unpromoted(self._model) if same is not None else None
        if same is not None and not (refused and self._parameters and self._parameters.promotion.force):
            raise NothingToDo(
                f"Nothing changed: version {same.version} of '{self._model}' was trained on the same data, parameters, code and "
                f"packages.{f' There is no champion: {refused}' if refused else ''}"
            )
        if not versions:
            logger.info("Training: there is no earlier model.")
            return
        before = fingerprint_of(versions[0])
        said = "; ".join(now.changes(Fingerprint.model_validate(before))) if before else "its fingerprint is not known"
        logger.info("Training, because of changes since version %s: %s.", versions[0].version, said)


def _check_features(source: dict[str, Any], table: dict[str, Any]) -> None:
    if source["sha256"] != table["sha256"]:
        raise ChurnError(
            f"the features were computed from another version of {table['name']} than the current one; run "
            "kedro run --pipelines feature_engineering,training"
        )
