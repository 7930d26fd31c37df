"""Versions of the registered model: the champion, the decisions on promotion, and fingerprints."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import mlflow
from mlflow.exceptions import MlflowException

from churn.errors import ChurnError

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

from churn.registry.unpromoted import LAST_TAG
from churn.registry.uri import (
    ABSENT_CODES,
    REMEDY,
    SHA256_TAG,
    NoSuchModelError,
    known_versions,
    last_unpromoted,
    registered_version,
)
from churn.training.promotion import PromotionDecision

# Tags of a version: the hash of its fingerprint, and the run that has the whole fingerprint.
FINGERPRINT_TAG, FINGERPRINT_RUN_TAG = "fingerprint", "fingerprint_run"
PREVIOUS_TAG = "previous_champion"
# Ending of the tag of a version with the time when it got an alias: `champion_since`.
SINCE = "_since"
# Tag of a version that `churn prune` is about to delete.
DOOMED_TAG = "being_pruned"


def find_version(name: str, sha256: str) -> "ModelVersion | None":
    """Return the newest version of a registered model with this content hash; ``None`` if there is none."""
    found = mlflow.MlflowClient().search_model_versions(f"name = '{name}' and tags.{SHA256_TAG} = '{sha256}'")
    return max(found, key=lambda entry: int(entry.version), default=None)


def record_decision(name: str, alias: str, decision: PromotionDecision) -> PromotionDecision:
    """Record a decision on its registered version, and move the alias to that version if it is promoted.

    Args:
        name: Name of the registered model.
        alias: Alias of the version in use.
        decision: Decision on the version with its content hash.

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
    done = _carry_out(decision, name, alias, version_name)
    try:
        client.set_registered_model_tag(name, LAST_TAG, version_name)
    except MlflowException:
        # As with the alias: of two trainings that insert the tag at the same moment, one is refused; now it is there.
        client.set_registered_model_tag(name, LAST_TAG, version_name)
    # A champion that was trained again keeps the tags and the reason of its promotion.
    of_version = _fingerprint_tags(done) if done.unchanged else {**done.tags, **_fingerprint_tags(done)}
    for key, value in of_version.items():
        client.set_model_version_tag(name, version_name, key, value)
    if mlflow.active_run() is not None:
        mlflow.set_tags({**done.tags, **_fingerprint_tags(done)})
    if not done.unchanged:
        client.update_model_version(name, version_name, description=f"{done.reason}{_card_link(entry)}")
    return done


def _carry_out(decision: PromotionDecision, name: str, alias: str, version_name: str) -> PromotionDecision:
    """Move the alias if the decision says so, and return the decision as it was carried out."""
    client = mlflow.MlflowClient()
    before = alias_version(name, alias)
    done = decision.carried_out(alias, version_name, before)
    if not done.promote or before == version_name:
        return done
    if before is not None:
        client.set_model_version_tag(name, version_name, PREVIOUS_TAG, before)
    try:
        # Directly after reading the alias: MLflow cannot read and set it in one step.
        _point(name, alias, version_name, before)
    except MlflowException:
        # Two trainings that promote the first champion at the same moment both insert the alias; the database lets one.
        if alias_version(name, alias) == before:
            raise
        return _carry_out(decision, name, alias, version_name)
    return done


def _card_link(entry: "ModelVersion") -> str:
    """Return a Markdown link to the model card of a version, for MLflow's pages."""
    if not entry.run_id:
        return ""
    experiment = mlflow.MlflowClient().get_run(entry.run_id).info.experiment_id
    # A relative link: the pages of runs and of the registry have the same address.
    address = f"#/experiments/{experiment}/runs/{entry.run_id}/artifacts/model_card.html"
    return f"\n\n[Model card]({address})"


def _fingerprint_tags(decision: PromotionDecision) -> dict[str, str]:
    if decision.fingerprint is None:
        return {}
    # If the same model was trained again, the version belongs to an earlier run.
    run = mlflow.active_run()
    return {FINGERPRINT_TAG: decision.fingerprint, **({FINGERPRINT_RUN_TAG: run.info.run_id} if run else {})}


class TrainedVersion(NamedTuple):
    """A registered version and its fingerprint.

    Attributes:
        version: Number of the version.
        fingerprint: Hash of its fingerprint; ``None`` if it has none.
        run_id: Id of the run that has the whole fingerprint.
    """

    version: str
    fingerprint: str | None
    run_id: str | None


def trained_versions(name: str, alias: str) -> list[TrainedVersion]:
    """Return the version that was trained last and the one with an alias, as far as they exist."""
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
    """Return the whole fingerprint of a version from its run; ``None`` if the run does not have it."""
    if trained.run_id is None:
        return None
    try:
        content: dict[str, Any] = mlflow.artifacts.load_dict(f"runs:/{trained.run_id}/fingerprint.json")["made_of"]
    except MlflowException:
        return None
    return content


def roll_back(name: str, alias: str, to: str | None = None) -> tuple[str, str]:
    """Move an alias back to the version that had it before, or to a given one.

    Returns:
        The versions that had the alias before and after.

    Raises:
        ChurnError: If no version has or had the alias, or the given version does not exist.
    """
    client = mlflow.MlflowClient()
    current = alias_version(name, alias)
    if current is None:
        refused = last_unpromoted(name)
        why = f": {refused}" if refused else f"; {REMEDY}"
        raise ChurnError(f"no version of '{name}' is {alias} in {mlflow.get_tracking_uri()}{why}")
    target = to or client.get_model_version(name, current).tags.get(PREVIOUS_TAG)
    if target is None:
        raise ChurnError(f"version {current} of '{name}' is the first {alias}; name a version with --to")
    if target == current:
        raise ChurnError(f"version {current} of '{name}' is the {alias} already")
    try:
        registered_version(name, None, target)
    except NoSuchModelError as error:
        raise ChurnError(f"there is no version {target} of '{name}'; there are {known_versions(name)}") from error
    _point(name, alias, target, current)
    return current, target


def _point(name: str, alias: str, version: str, before: str | None) -> None:
    """Move an alias to a version, unless `churn prune` is deleting it.

    MLflow cannot do both in one step. So this sets the alias and then reads the tag, while `delete_version` sets the tag
    and then reads the aliases: whatever the order, at least one of them sees the other.

    Raises:
        ChurnError: If the version is being deleted; the alias is where it was before.
    """
    client = mlflow.MlflowClient()
    client.set_registered_model_alias(name, alias, version)
    if DOOMED_TAG not in client.get_model_version(name, version).tags:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        client.set_model_version_tag(name, version, f"{alias}{SINCE}", now)
        return
    if before is None:
        client.delete_registered_model_alias(name, alias)
    else:
        client.set_registered_model_alias(name, alias, before)
    raise ChurnError(
        f"version {version} of '{name}' is being removed by churn prune; name another version, or train again"
    )


def delete_version(name: str, version: str) -> bool:
    """Delete a version, unless an alias has come to name it; see `_point`.

    Returns:
        Whether it was deleted, now or earlier.
    """
    client = mlflow.MlflowClient()
    try:
        client.set_model_version_tag(name, version, DOOMED_TAG, "true")
        model = client.get_registered_model(name)
        if version in {str(named) for named in model.aliases.values()} or model.tags.get(LAST_TAG) == version:
            client.delete_model_version_tag(name, version, DOOMED_TAG)
            return False
        client.delete_model_version(name, version)
    except MlflowException as error:
        if error.error_code not in ABSENT_CODES:
            raise
    return True


def alias_version(name: str, alias: str) -> str | None:
    """Return the version that has an alias; ``None`` if there is none."""
    try:
        return str(mlflow.MlflowClient().get_model_version_by_alias(name, alias).version)
    except MlflowException as error:
        if error.error_code in ABSENT_CODES:
            return None
        raise
