"""A data set that may not exist."""

from typing import Any

from kedro.io import AbstractDataset


class OptionalDataset(AbstractDataset[Any, Any]):
    """A wrapper that loads ``None`` if the path of the wrapped data set is empty, or nothing is stored there yet.

    It is for inputs that only some environments have, or that arrive later, such as the outcomes of scored accounts.

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
            dataset: Catalog entry of the wrapped data set; with an empty ``filepath`` it loads ``None``.
            must_exist: Whether a missing file is an error; then only an empty path loads ``None``.
            credentials: Credentials of the wrapped data set.
            metadata: For plugins; not read here.
        """
        self.metadata = metadata
        self._must_exist = must_exist
        self._dataset: AbstractDataset[Any, Any] | None = None
        if dataset.get("filepath"):
            config = {**dataset, "credentials": credentials} if credentials else dataset
            self._dataset = AbstractDataset.from_config("optional", config)

    def load(self) -> Any:
        """Return the stored data, or ``None``."""
        if self._dataset is None or not (self._must_exist or self._dataset.exists()):
            return None
        return self._dataset.load()

    def save(self, data: Any) -> None:
        """Save to the wrapped data set; without a path, nothing is saved."""
        if self._dataset is not None:
            self._dataset.save(data)

    def _exists(self) -> bool:
        return self._dataset is not None and self._dataset.exists()

    def _describe(self) -> dict[str, Any]:
        return {"dataset": self._dataset._describe() if self._dataset is not None else None}
