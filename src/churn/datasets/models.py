"""Models in the registry, and the decision which version is the champion."""

import logging
from typing import Any, NoReturn

from kedro.io import AbstractDataset, DatasetError

from churn.errors import ChurnError
from churn.model import ChurnModel
from churn.training.promotion import PromotionDecision

logger = logging.getLogger(__name__)


class ChurnModelDataset(AbstractDataset[NoReturn, ChurnModel | None]):
    """A stored model by its URI; loads only.

    The registry data set of kedro-mlflow loads by name and alias; this one accepts any form of URI (see
    `churn.mlflow_flavor.load_model`), verifies the content hash, and records the version.
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
            model_uri: URI of the model.
            path: Local folder for verified copies; None to download the model each time.
            must_exist: Whether a missing model is an error.
            metadata: For plugins; not read here.
        """
        self._model_uri = model_uri
        self._cache = path
        self._must_exist = must_exist
        self.metadata = metadata

    def load(self) -> ChurnModel | None:
        """Return the model; ``None`` if it cannot be loaded and `must_exist` is false.

        Raises:
            ChurnError: If `must_exist` is true and the model does not exist or is damaged.
        """
        from churn.registry import flavor, uri

        try:
            return flavor.load_model(self._model_uri, cache=self._cache)
        except ChurnError as error:
            if self._must_exist:
                raise
            # A first training expects that there is no model yet.
            if not isinstance(error, uri.NoSuchModelError):
                logger.warning("%s cannot be loaded and is not compared: %s", self._model_uri, error)
            return None

    def _exists(self) -> bool:
        return True  # a missing model is reported when it is loaded

    def save(self, data: NoReturn) -> NoReturn:
        """Raise an error: the training pipeline logs and registers models."""
        raise DatasetError("a model cannot be saved here; the training pipeline logs and registers it")

    def _describe(self) -> dict[str, Any]:
        return {"model_uri": self._model_uri}


class ChampionDataset(AbstractDataset[PromotionDecision, PromotionDecision]):
    """The registry alias of the champion: saving a decision to promote moves the alias.

    Every decision is recorded on its version. Loading returns the decision as it was carried out.
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
        """Return the decision of this run as it was carried out."""
        if self._done is None:
            raise DatasetError(
                "no decision was saved in this run yet; the version that has the alias is another catalog entry"
            )
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
        """Return the version as text."""
        from churn.registry import versions

        return versions.alias_version(self._model_name, self._alias)

    def save(self, data: NoReturn) -> NoReturn:
        """Raise an error: a decision moves the alias."""
        raise DatasetError("an alias cannot be saved; a decision to promote moves it, or kedro rollback")

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return {"model_name": self._model_name, "alias": self._alias}
