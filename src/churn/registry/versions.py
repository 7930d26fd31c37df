"""Versions of the registered model: which is the champion, why, and what each was made of."""

from typing import TYPE_CHECKING, Any, NamedTuple

import mlflow
from mlflow.exceptions import MlflowException

from churn.errors import ChurnError

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

from churn.registry.uri import ABSENT_CODES, REMEDY, SHA256_TAG, registered_version
from churn.training.promotion import PromotionDecision

# What a version was made of, and the run that has the whole of it; and of a registered model the version trained last.
FINGERPRINT_TAG, FINGERPRINT_RUN_TAG, LAST_TAG = "fingerprint", "fingerprint_run", "last_trained"
PREVIOUS_TAG = "previous_champion"


def find_version(name: str, sha256: str) -> "ModelVersion | None":
    """The newest registered version of a model with the given content hash."""
    found = mlflow.MlflowClient().search_model_versions(f"name = '{name}' and tags.{SHA256_TAG} = '{sha256}'")
    return max(found, key=lambda entry: int(entry.version), default=None)


def record_decision(name: str, alias: str, decision: PromotionDecision) -> PromotionDecision:
    """Note a decision on the registered version it is about, and give that version the alias if it is to promote.

    Args:
        name: Registered model.
        alias: Alias of the model in use.
        decision: The decision, about the version whose content hash it names.

    Returns:
        The decision as it was carried out, see `PromotionDecision.carried_out`.

    Raises:
        ChurnError: If no version has the hash.
    """
    client = mlflow.MlflowClient()
    entry = find_version(name, decision.sha256)
    if entry is None:
        raise ChurnError(
            f"no version of the registered model '{name}' has the content hash {decision.sha256[:12]}...; "
            "run the whole training pipeline, which registers it"
        )
    version_name = str(entry.version)
    before = alias_version(name, alias)
    done = decision.carried_out(alias, version_name, before)
    if done.promote and before != version_name:
        if before is not None:
            client.set_model_version_tag(name, version_name, PREVIOUS_TAG, before)
        # At once after the look at the alias: MLflow cannot look and set in one step.
        client.set_registered_model_alias(name, alias, version_name)
    client.set_registered_model_tag(name, LAST_TAG, version_name)
    for key, value in {**done.tags, **_fingerprint_tags(done)}.items():
        client.set_model_version_tag(name, version_name, key, value)
        if mlflow.active_run() is not None:
            mlflow.set_tag(key, value)
    client.update_model_version(name, version_name, description=f"{done.reason}{_card_link(entry)}")
    return done


def _card_link(entry: "ModelVersion") -> str:
    """Where the model card of a version is, as Markdown; a link where MLflow has a server."""
    if not entry.run_id:
        return ""
    experiment = mlflow.MlflowClient().get_run(entry.run_id).info.experiment_id
    # The pages of MLflow stand at the same address as the registry that links from.
    address = f"#/experiments/{experiment}/runs/{entry.run_id}/artifacts/model_card.html"
    return f"\n\n[Model card]({address})"


def _fingerprint_tags(decision: PromotionDecision) -> dict[str, str]:
    if decision.fingerprint is None:
        return {}
    # Of the same model trained again, the version is an earlier run's.
    run = mlflow.active_run()
    return {FINGERPRINT_TAG: decision.fingerprint, **({FINGERPRINT_RUN_TAG: run.info.run_id} if run else {})}


class TrainedVersion(NamedTuple):
    """A registered version and what it was made of.

    Attributes:
        version: Its number.
        fingerprint: Hash of its fingerprint; none where it has none.
        run_id: Run that has the fingerprint itself.
    """

    version: str
    fingerprint: str | None
    run_id: str | None


def trained_versions(name: str, alias: str) -> list[TrainedVersion]:
    """The version that was trained last, and the one that has an alias, where there are any."""
    client = mlflow.MlflowClient()
    try:
        last = client.get_registered_model(name).tags.get(LAST_TAG)
    except MlflowException as error:
        if error.error_code in ABSENT_CODES:
            return []
        raise
    found = []
    for version_name in dict.fromkeys([last, alias_version(name, alias)]):
        if version_name is not None:
            tags = client.get_model_version(name, version_name).tags
            found.append(TrainedVersion(version_name, tags.get(FINGERPRINT_TAG), tags.get(FINGERPRINT_RUN_TAG)))
    return found


def fingerprint_of(trained: TrainedVersion) -> dict[str, Any] | None:
    """What a version was made of, as its run has it; none if the run does not have it any more."""
    if trained.run_id is None:
        return None
    try:
        content: dict[str, Any] = mlflow.artifacts.load_dict(f"runs:/{trained.run_id}/fingerprint.json")["made_of"]
    except MlflowException:
        return None
    return content


def roll_back(name: str, alias: str, to: str | None = None) -> tuple[str, str]:
    """Give an alias back to the version that had it before, or to a given one.

    Returns:
        The version that had the alias, and the one that has it now.

    Raises:
        ChurnError: If nothing has the alias, nothing had it before, or there is no such version.
    """
    client = mlflow.MlflowClient()
    current = alias_version(name, alias)
    if current is None:
        raise ChurnError(f"no version of '{name}' is {alias} in {mlflow.get_tracking_uri()}; {REMEDY}")
    target = to or client.get_model_version(name, current).tags.get(PREVIOUS_TAG)
    if target is None:
        raise ChurnError(f"version {current} of '{name}' is the first {alias}; name a version with --to")
    if target == current:
        raise ChurnError(f"version {current} of '{name}' is the {alias} already")
    registered_version(f"models:/{name}/{target}", name, None, target)
    client.set_registered_model_alias(name, alias, target)
    return current, target


def alias_version(name: str, alias: str) -> str | None:
    """The version that has an alias, if any."""
    try:
        return str(mlflow.MlflowClient().get_model_version_by_alias(name, alias).version)
    except MlflowException as error:
        if error.error_code in ABSENT_CODES:
            return None
        raise
