"""The date of the scored snapshot."""

from datetime import UTC, date, datetime
from typing import Any, NoReturn

from kedro.io import AbstractDataset, DatasetError


class AsOfDataset(AbstractDataset[NoReturn, date]):
    """A date from the configuration, or the current one (UTC); loads only. It keeps the clock out of the nodes.

    Example:
        ```yaml
        as_of:
          type: churn.datasets.AsOfDataset
          date: ${parameters:inference.as_of}
        ```
    """

    def __init__(self, *, date: str | date | None = None, metadata: dict[str, Any] | None = None) -> None:
        """Declare the date (YYYY-MM-DD); None for the current date."""
        self._date = date
        self.metadata = metadata

    def load(self) -> date:
        """Return the date."""
        if self._date is None:
            return datetime.now(UTC).date()
        return date.fromisoformat(str(self._date))

    def save(self, data: NoReturn) -> NoReturn:
        """Raise an error: the date comes from the configuration or the clock."""
        raise DatasetError("the date cannot be saved; set inference.as_of")

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return {"date": str(self._date) if self._date else "today"}
