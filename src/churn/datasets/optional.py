"""A data set that may be absent."""

from typing import Any

from kedro.io import AbstractDataset


class OptionalDataset(AbstractDataset[Any, Any]):
    """Another data set that gives ``None`` where its path is empty, or where nothing is stored yet.

    For inputs that only some environments have, or that arrive later, such as the outcomes of scored accounts.

    Example:
        ```yaml
        scoring_outcomes@table:
          type: churn.datasets.OptionalDataset
          dataset:
            type: churn.datasets.AccountsDataset
            filepath: data/data-staging/inference_outcomes.csv
            schema: ${parameters:accounts}
        ```
    """

    def __init__(
        self,
        *,
        dataset: dict[str, Any],
        must_exist: bool = False,
        credentials: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Declare the data set.

        Args:
            dataset: Catalog entry of the wrapped data set; an empty ``filepath`` means that there is none.
            must_exist: Whether a path that is given has to lead somewhere; then only an empty path means none.
            credentials: Passed on to the wrapped data set.
            metadata: For plugins; not read here.
        """
        self.metadata = metadata
        self._must_exist = must_exist
        self._dataset: AbstractDataset[Any, Any] | None = None
        if dataset.get("filepath"):
            config = {**dataset, "credentials": credentials} if credentials else dataset
            self._dataset = AbstractDataset.from_config("optional", config)

    def load(self) -> Any:
        """What is stored, or ``None``."""
        if self._dataset is None or not (self._must_exist or self._dataset.exists()):
            return None
        return self._dataset.load()

    def save(self, data: Any) -> None:
        """Store through the wrapped data set; without a path, nothing is stored."""
        if self._dataset is not None:
            self._dataset.save(data)

    def _exists(self) -> bool:
        return self._dataset is not None and self._dataset.exists()

    def _describe(self) -> dict[str, Any]:
        return {"dataset": self._dataset._describe() if self._dataset is not None else None}
