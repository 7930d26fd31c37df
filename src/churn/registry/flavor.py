"""MLflow flavor of a `ChurnModel`: logging, registration, loading and serving as a pyfunc.

The folder in MLflow has the model's own files (UBJSON, JSON, checksums) and MLflow's ``MLmodel``. A registered version has the
content hash as the tag ``sha256``. Training the same model again does not create another version.
"""

import logging
import sys
import tempfile
from contextlib import redirect_stderr
from importlib.metadata import version
from io import StringIO
from pathlib import Path
from typing import Any, TextIO

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
from churn.registry.signature import describe
from churn.registry.uri import MODEL_NAME, SHA256_TAG, Place, RegistrySilentError, download, locate
from churn.registry.versions import find_version

logger = logging.getLogger(__name__)

FLAVOR_NAME = "churn"
DATA_FOLDER = "churn"
# Loader module that every stored model names.
LOADER = "churn.mlflow_flavor"
# The registered model that this process loaded last, by content hash; it is reused while the champion is the same.
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
        path: Folder to create; it must not exist yet.
        mlflow_model: Description of the model; MLflow passes one while logging.
        pip_requirements: Packages needed to load it; by default the installed versions of those that scoring uses.
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
    describe(described, model, folder)
    described.save(str(folder / MLMODEL_FILE_NAME))


def log_model(
    model: ChurnModel,
    name: str = MODEL_NAME,
    registered_model_name: str | None = None,
    pip_requirements: list[str] | None = None,
) -> ModelInfo:
    """Log a model to the active run and register it, unless a version with the same content exists."""
    known = registered_model_name and find_version(registered_model_name, model.sha256)
    with redirect_stderr(_WithoutNoise(sys.stderr)):
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


class _WithoutNoise(StringIO):
    """Passes on what is written, but for lines that MLflow prints past the log, also into a log of JSON.

    The summary of a run names the version.
    """

    _NOISE = ("Successfully registered model", "Created version", "Registered model ")

    def __init__(self, passed: TextIO) -> None:
        super().__init__()
        self._passed, self._begun = passed, ""

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            if not line.startswith(self._NOISE):
                self._passed.write(f"{line}\n")
        return len(text)

    def flush(self) -> None:
        self._passed.flush()


def load_model(model_uri: str, dst_path: str | None = None, cache: str | Path | None = None) -> ChurnModel:
    """Load the model of a URI in any of the `FORMS`.

    An alias is resolved to a version once, so that a run uses one version even if the alias moves.

    Args:
        model_uri: URI of the model.
        dst_path: Folder to download it to; a temporary one by default.
        cache: Folder of verified copies. A registered model is loaded from there if it has a copy. While the registry
            does not answer, the last known version of the URI is loaded from there, with a warning.

    Raises:
        ChurnError: If the model does not exist, or its files are damaged or not the registered ones.
    """
    copies = ModelCache(cache) if cache is not None else None
    try:
        place = locate(model_uri)
    except RegistrySilentError as error:
        place = _remembered(model_uri, copies, error)
    model = _held.get(place.sha256) if place.sha256 else None
    if model is not None and copies is not None and copies.find(str(place.sha256)) is None:
        model = None  # loading it fills this cache, which has to serve when the registry is silent
    if model is None and copies is not None:
        model = _load_copy(place, copies)
    if model is None:
        model = _load_stored(place, model_uri, dst_path, copies)
    if copies is not None and place.sha256 is not None:
        copies.remember(_known_as(model_uri), place.version, place.run_id, place.sha256)
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
    """Return the model from its local copy; ``None`` if there is none, or if it is damaged, which removes it."""
    folder = copies.find(place.sha256) if place.sha256 else None
    if folder is None:
        return None
    try:
        return ChurnModel.load(folder, place.sha256)
    except ChurnError as error:
        logger.warning("The local copy of a model is damaged and is downloaded again: %s", error)
        copies.drop(str(place.sha256))
        return None


def _remembered(model_uri: str, copies: ModelCache | None, error: "RegistrySilentError") -> "Place":
    """Return the last known place of a URI.

    Raises:
        RegistrySilentError: If it is not known, or there is no local copy.
    """
    known = copies.recall(_known_as(model_uri)) if copies is not None else None
    if known is None or copies is None or copies.find(known.sha256) is None:
        raise error
    logger.warning(
        "%s. Scoring with the verified copy of version %s, which was %s on %s.",
        error,
        known.version,
        model_uri,
        known.seen_at,
    )
    return Place(location="", version=known.version, run_id=known.run_id, sha256=known.sha256)


def _known_as(model_uri: str) -> str:
    return f"{mlflow.get_tracking_uri()} {model_uri}"


def default_pip_requirements() -> list[str]:
    """Return the installed versions of the packages that scoring needs, so that MLflow does not infer them."""
    return [f"{name}=={version(name)}" for name in (DISTRIBUTION, "numpy", "pandas", "pyarrow", "pydantic", "xgboost")]


def _check_description(folder: Path) -> None:
    """Refuse a model folder whose description names another loader.

    This project would not run that loader, but `mlflow models serve` and other tools would.
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
    """Return the folder of the model's own files, a subfolder in an MLflow model folder."""
    return folder / DATA_FOLDER if (folder / MLMODEL_FILE_NAME).is_file() else folder


class _Scorer:
    """The pyfunc model: takes raw account rows, returns scores."""

    def __init__(self, model: ChurnModel) -> None:
        self.model = model

    def predict(self, accounts: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Return the scores of `ChurnModel.score`."""
        return self.model.score(accounts)


def _load_pyfunc(path: str) -> _Scorer:
    return _Scorer(ChurnModel.load(Path(path)))


def _this_module() -> Any:
    return sys.modules[__name__]
