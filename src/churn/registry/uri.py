"""Model URIs and their places."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.models.model import MLMODEL_FILE_NAME

from churn.errors import ChurnError
from churn.registry.unpromoted import CHAMPION, LAST_TAG, Unpromoted, card_of

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion


MODEL_NAME = "model"
SHA256_TAG = "sha256"
ABSENT_CODES = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")

# Names have no slash, no percent sign and no two dots, so that none can point to another folder.
_NAME = r"(?!.*\.\.)[A-Za-z0-9_][A-Za-z0-9_. -]*"
_REFERENCE_FORM = re.compile(r"^(?P<experiment>[A-Za-z0-9_-]+)/(?P<run>[0-9a-f]{32})/artifacts/?$")
_REGISTRY_FORM = re.compile(rf"^models:/(?P<name>{_NAME})(?:@(?P<alias>[A-Za-z0-9_-]+)|/(?P<version>[0-9]+))$")
_LOGGED_FORM = re.compile(r"^models:/m-[0-9a-f]+$")
_RUN_FORM = re.compile(rf"^runs:/(?P<run>[0-9a-f]{{32}})(?:/(?P<name>{_NAME}))?$")

FORMS = "models:/<name>@<alias>, models:/<name>/<version>, runs:/<run id>/model, <experiment>/<run id>/artifacts, or a folder"
MOST_SHOWN = 10
REMEDY = "train a model with kedro run --pipelines training, or name another with --params model_uri=..."


class Place(NamedTuple):
    """Location of a model, and what is known about it before it is loaded."""

    location: str = ""
    folder: Path | None = None
    version: str | None = None
    run_id: str | None = None
    sha256: str | None = None


def locate(uri: str) -> Place:
    """Return the place of the model of a URI.

    Raises:
        ChurnError: If the URI has none of the `FORMS`, or the registry has no such model.
    """
    if match := _REGISTRY_FORM.match(uri):
        entry = registered_version(match["name"], match["alias"], match["version"])
        return Place(
            location=f"models:/{entry.name}/{entry.version}",
            version=str(entry.version),
            run_id=entry.run_id,
            sha256=entry.tags.get(SHA256_TAG),
        )
    if _LOGGED_FORM.match(uri):
        return Place(location=uri)
    if match := _RUN_FORM.match(uri) or _REFERENCE_FORM.match(uri):
        name = match.groupdict().get("name") or MODEL_NAME
        return Place(location=f"runs:/{match['run']}/{name}", run_id=match["run"])
    if Path(uri).is_dir():
        return Place(folder=Path(uri))
    raise ChurnError(f"model_uri = {uri!r} names no model: it is neither a folder here nor of the form {FORMS}")


class NoSuchModelError(ChurnError):
    """The registry has no such model."""


class RegistrySilentError(ChurnError):
    """The registry does not answer, so it is not known whether the model exists."""


def registered_version(name: str, alias: str | None, number: str) -> "ModelVersion":
    """Return a registered version, by its alias or its number.

    Raises:
        NoSuchModelError: If it does not exist; names the versions that do, or the gates that have refused the last one.
        RegistrySilentError: If the registry does not answer.
    """
    client = mlflow.MlflowClient()
    uri = f"models:/{name}@{alias}" if alias else f"models:/{name}/{number}"
    try:
        return client.get_model_version_by_alias(name, alias) if alias else client.get_model_version(name, number)
    except MlflowException as error:
        if error.error_code in ABSENT_CODES:
            refused = last_unpromoted(name) if alias == CHAMPION else None
            why = f": {refused}" if refused else f"{_alternatives(name)}; {REMEDY}"
            raise NoSuchModelError(f"there is no model {uri} in {mlflow.get_tracking_uri()}{why}") from error
        raise RegistrySilentError(
            f"MLflow at {mlflow.get_tracking_uri()} could not resolve {uri}: {str(error).splitlines()[0]}"
        ) from error


def last_unpromoted(name: str) -> Unpromoted | None:
    """Return the version that was trained last, if it was not promoted and there is no champion; ``None`` otherwise."""
    client = mlflow.MlflowClient()
    try:
        model = client.get_registered_model(name)
        if CHAMPION in model.aliases or LAST_TAG not in model.tags:
            return None
        entry = client.get_model_version(name, model.tags[LAST_TAG])
        run_id = entry.run_id or ""
        refused = Unpromoted.of(str(entry.version), entry.tags)
        if refused is None or not run_id:
            return refused
        return refused._replace(model_card=card_of(client.get_run(run_id).info.artifact_uri, run_id))
    except MlflowException as error:
        if error.error_code in ABSENT_CODES:
            return None
        raise


def known_versions(name: str) -> str:
    """Return the versions of a registered model as text, the newest first: ``3, 2, 1``; empty if there are none."""
    found = mlflow.MlflowClient().search_model_versions(f"name = '{name}'")
    versions = sorted((int(entry.version) for entry in found), reverse=True)
    return ", ".join(map(str, versions[:MOST_SHOWN])) + (", ..." if len(versions) > MOST_SHOWN else "")


def _alternatives(name: str) -> str:
    """Return which models there are instead of one that does not exist; empty if there are none."""
    if known := known_versions(name):
        return f"; the versions of '{name}' are {known}"
    models = [model.name for model in mlflow.MlflowClient().search_registered_models()]
    return f"; the registered models are {', '.join(models[:MOST_SHOWN])}" if models else ""


def download(location: str, folder: str, uri: str) -> Path:
    """Download a model into a folder.

    Raises:
        ChurnError: If it cannot be read, or its files are not where MLflow expects them.
    """
    try:
        found = Path(mlflow.artifacts.download_artifacts(artifact_uri=location, dst_path=folder))
    except (MlflowException, OSError) as error:
        raise ChurnError(
            f"the model {uri} cannot be read from {mlflow.get_tracking_uri()}: {error}; {REMEDY}"
        ) from error
    if not (found / MLMODEL_FILE_NAME).is_file():  # MLflow returns an empty folder for one that does not exist
        raise ChurnError(
            f"the model {uri} has no files in {_stored_at(location)}, where {mlflow.get_tracking_uri()} expects them. Put them "
            f"back (a project is copied or moved with all of its folders), or {REMEDY}"
        )
    return found


def _stored_at(location: str) -> str:
    """Return the address of the files of a model, as far as MLflow knows it."""
    client = mlflow.MlflowClient()
    try:
        kind, _, rest = location.partition(":/")
        if kind == "models" and "/" in rest:
            location = str(client.get_model_version(*rest.split("/")[:2]).source)
            kind, _, rest = location.partition(":/")
        if kind == "models":
            return str(client.get_logged_model(rest).artifact_location)
        if kind == "runs":
            return str(client.get_run(rest.partition("/")[0]).info.artifact_uri)
    except MlflowException:
        pass
    return location
