"""Runs, stored models and registered versions in MLflow: listing and removal for `churn prune`."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import mlflow
from mlflow.exceptions import MlflowException

from churn.errors import ChurnError
from churn.operations.pruning import Run, StoredModel, Version
from churn.registry.unpromoted import LAST_TAG
from churn.registry.uri import ABSENT_CODES, SHA256_TAG
from churn.registry.versions import FINGERPRINT_RUN_TAG, PREVIOUS_TAG

PARENT_TAG = "mlflow.parentRunId"
# Statuses of runs that may go on.
OPEN = ("RUNNING", "SCHEDULED")
PAGE = 500


class Tracked:
    """What MLflow keeps for a project."""

    def __init__(self, experiment: str, model: str, folder: Path) -> None:
        """Set the names.

        Args:
            experiment: Name of the experiment.
            model: Name of the registered model.
            folder: Where artifacts on this machine lie; others there belong to another project and are never removed.
        """
        self._experiment, self._model, self._folder = experiment, model, folder.resolve()
        self._client = mlflow.MlflowClient()
        self._places: dict[str, str] = {}

    def versions(self) -> tuple[tuple[Version, ...], frozenset[str]]:
        """Return the versions of the model, and the runs and stored models that versions of other models refer to."""
        aliases: dict[str, list[str]] = {}
        last = None
        with suppress(MlflowException):  # there is no such model yet; the versions are asked for in any case
            registered = self._client.get_registered_model(self._model)
            last = registered.tags.get(LAST_TAG)
            for alias, number in registered.aliases.items():
                aliases.setdefault(str(number), []).append(alias)
        mine, others = [], set()
        for entry in _pages(lambda **page: self._client.search_model_versions("", max_results=PAGE, **page)):
            tags = entry.tags
            referred = [name for name in (entry.run_id, tags.get(FINGERPRINT_RUN_TAG)) if name]
            model_id = entry.model_id or _model_id(entry.source)
            if entry.name != self._model:
                others |= {*referred, *([model_id] if model_id else [])}
                continue
            number = str(entry.version)
            mine.append(
                Version(
                    number=number,
                    created=entry.creation_timestamp / 1000,
                    aliases=tuple(sorted(aliases.get(number, ()))),
                    previous=tags.get(PREVIOUS_TAG),
                    is_last=number == last,
                    sha256=tags.get(SHA256_TAG),
                    run_ids=tuple(referred),
                    model_id=model_id,
                )
            )
        return tuple(mine), frozenset(others)

    def runs(self) -> tuple[Run, ...]:
        """Return the runs of the experiment."""
        found = []
        for run in self._of_experiment(self._client.search_runs):
            info = run.info
            size, elsewhere = self._artifacts(info.run_id, info.artifact_uri)
            ended = (info.end_time or info.start_time or 0) / 1000
            parent = run.data.tags.get(PARENT_TAG)
            found.append(Run(info.run_id, parent, info.status in OPEN, ended, size, elsewhere))
        return tuple(found)

    def models(self) -> tuple[StoredModel, ...]:
        """Return the models that runs of the experiment have logged."""
        found = []
        for model in self._of_experiment(self._client.search_logged_models):
            size, elsewhere = self._artifacts(model.model_id, model.artifact_location)
            found.append(
                StoredModel(model.model_id, model.source_run_id, model.creation_timestamp / 1000, size, elsewhere)
            )
        return tuple(found)

    def remove_run(self, run_id: str) -> bool:
        """Remove the artifacts of a run, and then the run; return false if it goes on again.

        In this order, so that a removal that was interrupted is done again.
        """
        with _absent_is_done():
            if self._client.get_run(run_id).info.status in OPEN:
                return False
            self._remove_artifacts(run_id)
            self._client.delete_run(run_id)
        return True

    def remove_model(self, model_id: str) -> None:
        """Remove the artifacts of a stored model, and then the model."""
        with _absent_is_done():
            self._remove_artifacts(model_id)
            self._client.delete_logged_model(model_id)

    def _of_experiment(self, search: Callable[..., Any]) -> Iterator[Any]:
        experiment = self._client.get_experiment_by_name(self._experiment)
        if experiment is None:
            return
        yield from _pages(lambda **page: search([experiment.experiment_id], max_results=PAGE, **page))

    def _artifacts(self, owner: str, uri: str) -> tuple[int, str]:
        """Return the size of artifacts in bytes, and their place if it belongs to another project."""
        self._places[owner] = uri
        path = _local(uri)
        if path is None:
            return _size_of(_repository(uri)), ""
        if not self._is_ours(path, owner):
            return 0, str(path)
        return sum(file.lstat().st_size for file in path.rglob("*") if file.is_file()), ""

    def _is_ours(self, path: Path, owner: str) -> bool:
        return owner in path.parts and path.resolve().is_relative_to(self._folder)

    def _remove_artifacts(self, owner: str) -> None:
        uri = self._places[owner]
        path = _local(uri)
        if path is None:
            with suppress(FileNotFoundError):
                _repository(uri).delete_artifacts()
            return
        if not self._is_ours(path, owner):
            raise ChurnError(f"{path} is not in this project ({self._folder}); it was not removed")
        whole = path if path.name == owner else path.parent
        if whole.exists():
            shutil.rmtree(whole if whole.name == owner else path)


def _model_id(source: str | None) -> str | None:
    return source.removeprefix("models:/") if source and source.startswith("models:/m-") else None


def _pages(search: Callable[..., Any]) -> Iterator[Any]:
    token = None
    while True:
        page = search(page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _local(uri: str) -> Path | None:
    """Return the folder of artifacts on this machine; ``None`` if they are elsewhere."""
    parts = urlsplit(uri)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return Path(uri) if parts.scheme == "" or uri.startswith("/") else None


def _repository(uri: str) -> Any:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    return get_artifact_repository(uri)


def _size_of(repository: Any, path: str | None = None) -> int:
    size = 0
    for entry in repository.list_artifacts(path):
        size += _size_of(repository, entry.path) if entry.is_dir else int(entry.file_size or 0)
    return size


class _absent_is_done(suppress):  # noqa: N801, used like suppress
    """Suppresses the errors of MLflow about something that is gone."""

    def __init__(self) -> None:
        super().__init__(MlflowException)

    def __exit__(self, kind: Any, error: Any, trace: Any) -> bool:
        if isinstance(error, MlflowException) and error.error_code not in ABSENT_CODES:
            return False
        return bool(super().__exit__(kind, error, trace))
