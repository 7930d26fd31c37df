"""The model that scores, and the decision which one that is."""

import logging
from typing import Any, NoReturn

from kedro.io import AbstractDataset, DatasetError

from churn.errors import ChurnError
from churn.model import ChurnModel
from churn.training.promotion import PromotionDecision

logger = logging.getLogger(__name__)


class ChurnModelDataset(AbstractDataset[NoReturn, ChurnModel | None]):
    """A stored model by its URI, loads only.

    kedro-mlflow's registry data set loads by name and alias; this one takes any form of URI (see
    `churn.mlflow_flavor.load_model`), verifies the content hash, and notes which version it was.
    """

    def __init__(
        self,
        *,
        model_uri: str,
        path: str | None = None,
        must_exist: bool = True,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Declare the model.

        Args:
            model_uri: Which model.
            path: Local folder for verified copies; none to fetch the model each time.
            must_exist: Whether there has to be one.
            metadata: For plugins; not read here.
        """
        self._model_uri = model_uri
        self._cache = path
        self._must_exist = must_exist
        self.metadata = metadata

    def load(self) -> ChurnModel | None:
        """The model; ``None`` where there need not be one and none can be read.

        Raises:
            ChurnError: If there has to be one and there is none, or its files are damaged.
        """
        from churn.registry import flavor, uri

        try:
            return flavor.load_model(self._model_uri, cache=self._cache)
        except ChurnError as error:
            if self._must_exist:
                raise
            # That there is none yet is what a first training expects.
            if not isinstance(error, uri.NoSuchModelError):
                logger.warning("%s is left aside: %s", self._model_uri, error)
            return None

    def _exists(self) -> bool:
        return True  # whether there is one is found out, and said, when it is loaded

    def save(self, data: NoReturn) -> NoReturn:
        """Refused: models are logged by the training pipeline."""
        raise DatasetError("a model is logged and registered by the training pipeline, not saved here")

    def _describe(self) -> dict[str, Any]:
        return {"model_uri": self._model_uri}


class ChampionDataset(AbstractDataset[PromotionDecision, PromotionDecision]):
    """The registry alias of the model in use: a decision to promote, when saved, moves the alias.

    A decision is noted on the version whatever it is. Loading gives the decision as it was carried out.
    """

    def __init__(self, *, model_name: str, alias: str = "champion", metadata: dict[str, Any] | None = None) -> None:
        """Declare the registered model and its alias."""
        self._model_name = model_name
        self._alias = alias
        self._done: PromotionDecision | None = None
        self.metadata = metadata

    def save(self, data: PromotionDecision) -> None:
        """Carry out a decision.

        Raises:
            ChurnError: If no registered version has the decision's content hash.
        """
        from churn.registry import versions

        self._done = versions.record_decision(self._model_name, self._alias, data)

    def load(self) -> PromotionDecision:
        """The decision of this run as it was carried out."""
        if self._done is None:
            raise DatasetError("there is no decision yet in this run; the model that has the alias is another entry")
        return self._done

    def _describe(self) -> dict[str, Any]:
        return {"model_name": self._model_name, "alias": self._alias}


class AliasDataset(AbstractDataset[NoReturn, str | None]):
    """The version that has a registry alias, or ``None``; loads only."""

    def __init__(self, *, model_name: str, alias: str = "champion", metadata: dict[str, Any] | None = None) -> None:
        """Declare the registered model and its alias."""
        self._model_name = model_name
        self._alias = alias
        self.metadata = metadata

    def load(self) -> str | None:
        """The version as text."""
        from churn.registry import versions

        return versions.alias_version(self._model_name, self._alias)

    def save(self, data: NoReturn) -> NoReturn:
        """Refused: a decision moves the alias."""
        raise DatasetError("an alias is moved by a decision to promote, or by kedro rollback")

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return {"model_name": self._model_name, "alias": self._alias}
