"""The model that scores, and the decision which one that is."""

from typing import Any, NoReturn

from kedro.io import AbstractDataset, DatasetError

from churn.errors import ChurnError
from churn.model import ChurnModel


class ChurnModelDataset(AbstractDataset[NoReturn, ChurnModel]):
    """A stored model by its URI, loads only.

    kedro-mlflow's registry data set loads by name and alias; this one takes any form of URI (see
    `churn.mlflow_flavor.load_model`), verifies the content hash, and notes which version it was.
    """

    def __init__(self, *, model_uri: str, metadata: dict[str, Any] | None = None) -> None:
        """Declare the model by its URI."""
        self._model_uri = model_uri
        self.metadata = metadata

    def load(self) -> ChurnModel:
        """The model.

        Raises:
            ChurnError: If there is none, or its files are damaged.
        """
        from churn import mlflow_flavor

        return mlflow_flavor.load_model(self._model_uri)

    def save(self, data: NoReturn) -> NoReturn:
        """Refused: models are logged by the training pipeline."""
        raise DatasetError("a model is logged and registered by the training pipeline, not saved here")

    def _describe(self) -> dict[str, Any]:
        return {"model_uri": self._model_uri}


class ChampionDataset(AbstractDataset[dict[str, Any], NoReturn]):
    """The registry alias of the model in use, saves only: a decision to promote moves the alias.

    A decision has ``promote`` (whether), ``sha256`` (content hash of the registered model) and ``reason``.
    """

    def __init__(self, *, model_name: str, alias: str = "champion", metadata: dict[str, Any] | None = None) -> None:
        """Declare the registered model and its alias."""
        self._model_name = model_name
        self._alias = alias
        self.metadata = metadata

    def save(self, data: dict[str, Any]) -> None:
        """Carry out a decision.

        Raises:
            ChurnError: If no registered version has the decision's content hash.
        """
        import mlflow

        from churn import mlflow_flavor

        if not data["promote"]:
            return
        entry = mlflow_flavor.find_version(self._model_name, data["sha256"])
        if entry is None:
            raise ChurnError(
                f"no version of the registered model '{self._model_name}' has the content hash {data['sha256'][:12]}...; "
                "run the whole training pipeline, which registers it"
            )
        client = mlflow.MlflowClient()
        client.set_registered_model_alias(self._model_name, self._alias, entry.version)
        client.set_model_version_tag(self._model_name, entry.version, "promotion_reason", data["reason"])

    def load(self) -> NoReturn:
        """Refused: the model behind the alias is another catalog entry."""
        raise DatasetError("a decision is not loaded; load the model that has the alias")

    def _describe(self) -> dict[str, Any]:
        return {"model_name": self._model_name, "alias": self._alias}
