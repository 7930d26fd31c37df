"""MLflow flavor of a `ChurnModel`: how it is logged, registered, found again and served as a pyfunc.

The folder in MLflow holds the model's own files (UBJSON, JSON, checksums) beside MLflow's ``MLmodel``. A version in
the registry carries the content hash as the tag ``sha256``. Training the same model again does not make another
version of it.
"""

import logging
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.models.model import MLMODEL_FILE_NAME, ModelInfo
from yaml import YAMLError

from churn.errors import ChurnError
from churn.model import ChurnModel, ModelSource
from churn.registry.cache import ModelCache
from churn.registry.fingerprint import DISTRIBUTION
from churn.registry.uri import MODEL_NAME, SHA256_TAG, Place, RegistrySilentError, download, locate
from churn.registry.versions import find_version

logger = logging.getLogger(__name__)

FLAVOR_NAME = "churn"
DATA_FOLDER = "churn"
# What loads a stored model, as every one of them names it.
LOADER = "churn.mlflow_flavor"
# The registered model that this process loaded last, by its content hash: while the champion stays, so do its tables.
_held: dict[str, ChurnModel] = {}


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
    described.add_flavor(FLAVOR_NAME, data=DATA_FOLDER, churn_version=version(DISTRIBUTION))
    mlflow.pyfunc.add_to_model(
        described, loader_module=LOADER, data=DATA_FOLDER, env={"virtualenv": "requirements.txt"}
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
        place = locate(model_uri)
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


def _load_stored(place: "Place", model_uri: str, dst_path: str | None, copies: ModelCache | None) -> ChurnModel:
    with tempfile.TemporaryDirectory(prefix="churn-model-") as scratch:
        folder = place.folder or download(place.location, dst_path or scratch, model_uri)
        _check_description(folder)
        model = ChurnModel.load(_data_folder(folder), place.sha256)
        if copies is not None and place.sha256 is not None:
            copies.keep(place.sha256, _data_folder(folder))
    return model


def _load_copy(place: "Place", copies: ModelCache) -> ChurnModel | None:
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


def _remembered(model_uri: str, copies: ModelCache | None, error: "RegistrySilentError") -> "Place":
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
    return Place(location="", version=known["version"], run_id=known["run_id"], sha256=known["sha256"])


def _known_as(model_uri: str) -> str:
    return f"{mlflow.get_tracking_uri()} {model_uri}"


def default_pip_requirements() -> list[str]:
    """The installed versions of the packages that scoring needs; given to MLflow so that it need not search for them."""
    return [f"{name}=={version(name)}" for name in (DISTRIBUTION, "numpy", "pandas", "pyarrow", "pydantic", "xgboost")]


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
    if loader != LOADER:
        raise ChurnError(
            f"{folder} is not a churn model: its {MLMODEL_FILE_NAME} names the loader {loader!r}, expected {LOADER!r}; "
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
