"""What monitoring judges: the results that were published last, or a day of logged requests."""

from datetime import UTC, date, datetime
from typing import Any, NoReturn

from kedro.io import AbstractDataset, DatasetError

from churn.config import AccountSchema
from churn.datasets.accounts import OutcomeBatchesDataset
from churn.scoring import Publication
from churn.scoring.request_day import requests_of
from churn.stores import open_store


class RequestsDataset(AbstractDataset[NoReturn, Publication]):
    """A day of the log of requests as scores to judge; loads only.

    Example:
        ```yaml
        logged_requests:
          type: churn.datasets.RequestsDataset
          filepath: data/ml-result/requests
          schema: ${parameters:accounts}
        ```
    """

    def __init__(
        self,
        *,
        filepath: str,
        schema: dict[str, Any] | AccountSchema,
        day: str | date | None = None,
        model_version: str | int | None = None,
        credentials: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Declare the log.

        Args:
            filepath: Path or URL of its folder.
            schema: Schema of the accounts.
            day: The day (YYYY-MM-DD, UTC); the newest one that is over by default.
            model_version: Version of the model to judge; that with the most answers by default.
            credentials: Credentials of the store.
            metadata: For plugins; not read here.
        """
        self._store = open_store(filepath, credentials)
        self._schema = AccountSchema.model_validate(schema)
        self._day = date.fromisoformat(str(day)) if day else None
        self._version = None if model_version is None else str(model_version)
        self.metadata = metadata

    def load(self) -> Publication:
        """Return the scores, which are read in batches; see `churn.scoring.request_day.requests_of`."""
        return requests_of(self._store, self._schema, day=self._day, version=self._version, now=datetime.now(UTC))

    def save(self, data: NoReturn) -> NoReturn:
        """Raise an error: the service logs requests."""
        raise DatasetError("requests cannot be saved here; churn serve logs them")

    def _exists(self) -> bool:
        return True  # what is missing is said when it is loaded

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._store.uri, "day": str(self._day) if self._day else "the newest one that is over"}


class MonitoredDataset(AbstractDataset[NoReturn, Publication]):
    """One of two data sets, as a parameter says: published results, or logged requests; loads only."""

    def __init__(
        self,
        *,
        source: str | None,
        results: dict[str, Any],
        requests: dict[str, Any],
        credentials: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Declare both.

        Args:
            source: ``results`` or ``requests``; empty for ``results``.
            results: Catalog entry of the results.
            requests: Catalog entry of the requests.
            credentials: Credentials of both.
            metadata: For plugins; not read here.
        """
        self.source, self.metadata = source or "results", metadata
        chosen = {"results": results, "requests": requests}[self.source]
        config = {**chosen, "credentials": credentials} if credentials else chosen
        self.chosen: AbstractDataset[Any, Any] = AbstractDataset.from_config("monitored", config)

    def follow(self, run_id: str | None) -> None:
        """Load the results of a run in place of the current ones; ``None`` for these. Requests have no run."""
        if self.source == "results":
            chosen: Any = self.chosen
            chosen.follows = run_id

    def load(self) -> Publication:
        """Return the scores to judge.

        Raises:
            ChurnError: If there are none.
        """
        found: Publication = self.chosen.load()
        return found

    def save(self, data: NoReturn) -> NoReturn:
        """Raise an error: what is judged comes from elsewhere."""
        raise DatasetError(
            "what is monitored cannot be saved; inference publishes results, and churn serve logs requests"
        )

    def _exists(self) -> bool:
        return self.chosen.exists()

    def _describe(self) -> dict[str, Any]:
        return self.chosen._describe()


class RequestOutcomesDataset(OutcomeBatchesDataset):
    """Outcomes of accounts that were asked for, loaded in batches; loads only. Id, label and the date ``as_of`` are read."""

    def __init__(self, **options: Any) -> None:
        """Declare the table.

        Args:
            options: Options of `AccountsDataset`.
        """
        super().__init__(**options)
        # As a text: its form is checked where it is used.
        self._schema = self._schema.model_copy(update={"categorical": ("as_of",)})
