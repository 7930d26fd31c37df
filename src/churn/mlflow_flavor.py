"""MLflow flavor of a `ChurnModel`: how it is logged, registered, found again and served as a pyfunc.

The folder in MLflow holds the model's own files (UBJSON, JSON, checksums) beside MLflow's ``MLmodel``. A version in
the registry carries the content hash as the tag ``sha256``. Training the same model again does not make another
version of it.
"""

import logging
import re
import sys
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.models.model import MLMODEL_FILE_NAME, ModelInfo
from yaml import YAMLError

from churn.errors import ChurnError
from churn.model import ChurnModel, ModelSource
from churn.model_cache import ModelCache

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

logger = logging.getLogger(__name__)

FLAVOR_NAME = "churn"
MODEL_NAME = "model"
DATA_FOLDER = "churn"
SHA256_TAG = "sha256"
# What a version was made of, and the run that has the whole of it; and of a registered model the version trained last.
FINGERPRINT_TAG, FINGERPRINT_RUN_TAG, LAST_TAG = "fingerprint", "fingerprint_run", "last_trained"
PREVIOUS_TAG = "previous_champion"
ABSENT_CODES = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")

# Names hold no slash, no percent sign and no two dots, so that none can lead out of its place.
_NAME = r"(?!.*\.\.)[A-Za-z0-9_][A-Za-z0-9_. -]*"
_REFERENCE_FORM = re.compile(r"^(?P<experiment>[A-Za-z0-9_-]+)/(?P<run>[0-9a-f]{32})/artifacts/?$")
_REGISTRY_FORM = re.compile(rf"^models:/(?P<name>{_NAME})(?:@(?P<alias>[A-Za-z0-9_-]+)|/(?P<version>[0-9]+))$")
_LOGGED_FORM = re.compile(r"^models:/m-[0-9a-f]+$")
_RUN_FORM = re.compile(rf"^runs:/(?P<run>[0-9a-f]{{32}})(?:/(?P<name>{_NAME}))?$")
# The registered model that this process loaded last, by its content hash: while the champion stays, so do its tables.
_held: dict[str, ChurnModel] = {}

FORMS = "models:/<name>@<alias>, models:/<name>/<version>, runs:/<run id>/model, <experiment>/<run id>/artifacts, or a folder"
WAY_OUT = "train a model with kedro run --pipelines training, or name another with --params model_uri=..."


def save_model(
    model: ChurnModel,
    path: str | Path,
    mlflow_model: Model | None = None,
    pip_requirements: list[str] | None = None,
) -> None:
    """Write a model as an MLflow model folder.

    Args:
        model: The model to store.
        path: Folder that is made; it must not exist yet.
        mlflow_model: Description that MLflow fills in while logging.
        pip_requirements: Packages needed to load it; by default the installed versions of what scoring uses.
    """
    folder = Path(path)
    folder.mkdir(parents=True)
    model.save(folder / DATA_FOLDER)
    described = mlflow_model if mlflow_model is not None else Model()
    requirements = pip_requirements or default_pip_requirements()
    (folder / "requirements.txt").write_text("\n".join(requirements) + "\n")
    described.add_flavor(FLAVOR_NAME, data=DATA_FOLDER, churn_version=version("churn"))
    mlflow.pyfunc.add_to_model(
        described, loader_module=__name__, data=DATA_FOLDER, env={"virtualenv": "requirements.txt"}
    )
    described.save(str(folder / MLMODEL_FILE_NAME))


def log_model(
    model: ChurnModel,
    name: str = MODEL_NAME,
    registered_model_name: str | None = None,
    pip_requirements: list[str] | None = None,
) -> ModelInfo:
    """Log a model to the active run and register it, unless a version with the same content exists."""
    known = registered_model_name and find_version(registered_model_name, model.sha256)
    info: ModelInfo = Model.log(
        artifact_path=None,
        name=name,
        flavor=_this_module(),
        model=model,
        pip_requirements=pip_requirements,
        registered_model_name=None if known else registered_model_name,
        tags={SHA256_TAG: model.sha256},
    )
    return info


def load_model(model_uri: str, dst_path: str | None = None, cache: str | Path | None = None) -> ChurnModel:
    """Load the model that a URI selects, in any of the `FORMS`.

    An alias is resolved to a version once, so that one run uses one version whatever happens to the alias meanwhile.

    Args:
        model_uri: Which model.
        dst_path: Folder to download it to; a temporary one by default.
        cache: Folder of verified copies. Registered models are taken from there if they are there; while the registry
            does not answer, so is the version that the URI led to last, with a warning.

    Raises:
        ChurnError: If there is no such model, or its files are damaged or not the registered ones.
    """
    copies = ModelCache(cache) if cache is not None else None
    try:
        place = _locate(model_uri)
    except RegistrySilentError as error:
        place = _remembered(model_uri, copies, error)
    model = _held.get(place.sha256) if place.sha256 else None
    if model is None and copies is not None:
        model = _load_copy(place, copies)
    if model is None:
        model = _load_stored(place, model_uri, dst_path, copies)
    if copies is not None and place.sha256 is not None:
        copies.remember(
            _known_as(model_uri), {"version": place.version, "run_id": place.run_id, "sha256": place.sha256}
        )
    source = ModelSource(uri=model_uri, version=place.version or model.sha256[:12], run_id=place.run_id)
    if model.source != source:
        model = model.loaded_from(source)
    if place.sha256 is not None:
        _held.clear()
        _held[place.sha256] = model
    return model


def _load_stored(place: "_Place", model_uri: str, dst_path: str | None, copies: ModelCache | None) -> ChurnModel:
    with tempfile.TemporaryDirectory(prefix="churn-model-") as scratch:
        folder = place.folder or _download(place.location, dst_path or scratch, model_uri)
        _check_description(folder)
        model = ChurnModel.load(_data_folder(folder), place.sha256)
        if copies is not None and place.sha256 is not None:
            copies.keep(place.sha256, _data_folder(folder))
    return model


def _load_copy(place: "_Place", copies: ModelCache) -> ChurnModel | None:
    """The model from its copy here; ``None`` where there is none, or a damaged one, which is removed."""
    folder = copies.find(place.sha256) if place.sha256 else None
    if folder is None:
        return None
    try:
        return ChurnModel.load(folder, place.sha256)
    except ChurnError as error:
        logger.warning("A copy of a model is damaged and is fetched again: %s", error)
        copies.drop(str(place.sha256))
        return None


def _remembered(model_uri: str, copies: ModelCache | None, error: "RegistrySilentError") -> "_Place":
    """What a URI led to when the registry last answered.

    Raises:
        RegistrySilentError: If that is not known, or there is no copy of it.
    """
    known = copies.recall(_known_as(model_uri)) if copies is not None else None
    if known is None or copies is None or copies.find(known["sha256"]) is None:
        raise error
    logger.warning(
        "%s. Scoring with the verified copy of version %s, which was %s on %s.",
        error,
        known["version"],
        model_uri,
        known["seen_at"],
    )
    return _Place(location="", version=known["version"], run_id=known["run_id"], sha256=known["sha256"])


def _known_as(model_uri: str) -> str:
    return f"{mlflow.get_tracking_uri()} {model_uri}"


def find_version(name: str, sha256: str) -> "ModelVersion | None":
    """The newest registered version of a model with the given content hash."""
    found = mlflow.MlflowClient().search_model_versions(f"name = '{name}' and tags.{SHA256_TAG} = '{sha256}'")
    return max(found, key=lambda entry: int(entry.version), default=None)


def record_decision(name: str, alias: str, decision: Mapping[str, Any]) -> dict[str, Any]:
    """Note a decision on the registered version it is about, and give that version the alias if it is to promote.

    A decision that compared with another version than the one that has the alias by now is not carried out, unless it
    is forced: what became the champion meanwhile may be better.

    Args:
        name: Registered model.
        alias: Alias of the model in use.
        decision: ``promote``, ``reason``, ``sha256`` of the version, and if there are any ``forced``, ``gates`` and
            ``compared_with``, the version that had the alias when the decision was made.

    Returns:
        The decision as it was carried out, with the ``version`` that it is about.

    Raises:
        ChurnError: If no version has the hash.
    """
    client = mlflow.MlflowClient()
    entry = find_version(name, decision["sha256"])
    if entry is None:
        raise ChurnError(
            f"no version of the registered model '{name}' has the content hash {decision['sha256'][:12]}...; "
            "run the whole training pipeline, which registers it"
        )
    version_name = str(entry.version)
    before = alias_version(name, alias)
    done = {**_unless_overtaken(decision, alias, before, version_name), "version": version_name}
    if done["promote"] and before != version_name:
        if before is not None:
            client.set_model_version_tag(name, version_name, PREVIOUS_TAG, before)
        # At once after the look at the alias: MLflow cannot look and set in one step.
        client.set_registered_model_alias(name, alias, version_name)
    client.set_registered_model_tag(name, LAST_TAG, version_name)
    for key, value in _decision_tags(done).items():
        client.set_model_version_tag(name, version_name, key, value)
        if mlflow.active_run() is not None:
            mlflow.set_tag(key, value)
    client.update_model_version(name, version_name, description=f"{done['reason']}{_card_link(entry)}")
    return done


def _unless_overtaken(decision: Mapping[str, Any], alias: str, now: str | None, version_name: str) -> Mapping[str, Any]:
    compared_with = decision.get("compared_with", now)
    if not decision["promote"] or decision.get("forced") or now in (compared_with, version_name):
        return decision
    rival = f"version {compared_with}" if compared_with else f"no {alias} at all"
    reason = (
        f"Not promoted: version {now} became the {alias} while this model was compared with {rival}; "
        "train again to compare it with that one"
    )
    return {**decision, "promote": False, "reason": reason}


def _card_link(entry: "ModelVersion") -> str:
    """Where the model card of a version is, as Markdown; a link where MLflow has a server."""
    if not entry.run_id:
        return ""
    experiment = mlflow.MlflowClient().get_run(entry.run_id).info.experiment_id
    # The pages of MLflow stand at the same address as the registry that links from.
    address = f"#/experiments/{experiment}/runs/{entry.run_id}/artifacts/model_card.html"
    return f"\n\n[Model card]({address})"


def _decision_tags(decision: Mapping[str, Any]) -> dict[str, str]:
    outcome = "promoted" if decision["promote"] else "not promoted"
    tags = {
        "promotion": f"{outcome}, forced" if decision.get("forced") else outcome,
        "promotion_reason": decision["reason"],
    }
    if "fingerprint" in decision:
        tags[FINGERPRINT_TAG] = decision["fingerprint"]
        # Of the same model trained again, the version is an earlier run's.
        if (run := mlflow.active_run()) is not None:
            tags[FINGERPRINT_RUN_TAG] = run.info.run_id
    for gate in decision.get("gates", ()):
        passed = "passed" if gate["passed"] else "failed"
        tags[f"gate.{gate['name']}"] = f"{passed}: {gate['sentence']}"
    return tags


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
        raise ChurnError(f"no version of '{name}' is {alias} in {mlflow.get_tracking_uri()}; {WAY_OUT}")
    target = to or client.get_model_version(name, current).tags.get(PREVIOUS_TAG)
    if target is None:
        raise ChurnError(f"version {current} of '{name}' is the first {alias}; name a version with --to")
    if target == current:
        raise ChurnError(f"version {current} of '{name}' is the {alias} already")
    _registered(f"models:/{name}/{target}", name, None, target)
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


def default_pip_requirements() -> list[str]:
    """The installed versions of the packages that scoring needs; given to MLflow so that it need not search for them."""
    return [f"{name}=={version(name)}" for name in ("churn", "numpy", "pandas", "pyarrow", "pydantic", "xgboost")]


class _Place(NamedTuple):
    """Where the model behind a URI lies, and what is known of it before it is read."""

    location: str = ""
    folder: Path | None = None
    version: str | None = None
    run_id: str | None = None
    sha256: str | None = None


def _locate(uri: str) -> _Place:
    if match := _REGISTRY_FORM.match(uri):
        entry = _registered(uri, match["name"], match["alias"], match["version"])
        return _Place(
            location=f"models:/{entry.name}/{entry.version}",
            version=str(entry.version),
            run_id=entry.run_id,
            sha256=entry.tags.get(SHA256_TAG),
        )
    if _LOGGED_FORM.match(uri):
        return _Place(location=uri)
    if match := _RUN_FORM.match(uri) or _REFERENCE_FORM.match(uri):
        name = match.groupdict().get("name") or MODEL_NAME
        return _Place(location=f"runs:/{match['run']}/{name}", run_id=match["run"])
    if Path(uri).is_dir():
        return _Place(folder=Path(uri))
    raise ChurnError(f"model_uri = {uri!r} names no model: it is neither a folder here nor of the form {FORMS}")


class NoSuchModelError(ChurnError):
    """The registry has no such model."""


class RegistrySilentError(ChurnError):
    """The registry does not answer, so that it is not known whether there is such a model."""


def _registered(uri: str, name: str, alias: str | None, number: str) -> "ModelVersion":
    client = mlflow.MlflowClient()
    try:
        return client.get_model_version_by_alias(name, alias) if alias else client.get_model_version(name, number)
    except MlflowException as error:
        if error.error_code in ABSENT_CODES:
            raise NoSuchModelError(f"there is no model {uri} in {mlflow.get_tracking_uri()}; {WAY_OUT}") from error
        raise RegistrySilentError(
            f"MLflow at {mlflow.get_tracking_uri()} does not say which model {uri} is: {str(error).splitlines()[0]}"
        ) from error


def _download(location: str, folder: str, uri: str) -> Path:
    try:
        return Path(mlflow.artifacts.download_artifacts(artifact_uri=location, dst_path=folder))
    except (MlflowException, OSError) as error:
        raise ChurnError(
            f"the model {uri} cannot be read from {mlflow.get_tracking_uri()}: {error}; {WAY_OUT}"
        ) from error


def _check_description(folder: Path) -> None:
    """Refuse a model folder whose description names code of its own to load it with.

    Nothing here would run that code, but `mlflow models serve` and others would.
    """
    file = folder / MLMODEL_FILE_NAME
    if not file.is_file():
        return
    try:
        loader = Model.load(str(file)).flavors.get("python_function", {}).get("loader_module")
    except (MlflowException, ValueError, TypeError, AttributeError, YAMLError) as error:
        raise ChurnError(f"{file} is not a description of a model: {str(error).splitlines()[0]}") from error
    if loader != __name__:
        raise ChurnError(
            f"{folder} is not a churn model: its {MLMODEL_FILE_NAME} names the loader {loader!r}, expected {__name__!r}; "
            "it is not loaded"
        )


def _data_folder(folder: Path) -> Path:
    """The model's own files: in an MLflow model folder one level down."""
    return folder / DATA_FOLDER if (folder / MLMODEL_FILE_NAME).is_file() else folder


class _Scorer:
    """What MLflow serves: raw account rows in, scores out."""

    def __init__(self, model: ChurnModel) -> None:
        self.model = model

    def predict(self, accounts: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Scores as `ChurnModel.score` gives them."""
        return self.model.score(accounts)


def _load_pyfunc(path: str) -> _Scorer:
    return _Scorer(ChurnModel.load(Path(path)))


def _this_module() -> Any:
    return sys.modules[__name__]
