"""What campaigns leave and read: the accounts that were asked for, the log of contacts, the record, and the report."""

import logging
from typing import Any, NoReturn

import pandas as pd
from kedro.io import AbstractDataset, DatasetError
from pydantic import ValidationError

from churn.datasets.accounts import AccountsDataset, outcome_schema
from churn.datasets.results import InResults
from churn.datasets.workbooks import read_sheet
from churn.experiment.save_rate import CallEffect
from churn.scoring.pointer import CAMPAIGN_ACCOUNTS
from churn.stores import DamagedError, open_store
from churn.tables.stored import StoredTable

logger = logging.getLogger(__name__)

REPORT = "campaign_report"
WORKBOOK = ".xlsx"


class CampaignAccountsDataset(InResults, AbstractDataset[NoReturn, pd.DataFrame | None]):
    """The accounts of all campaigns so far, as the current results carry them; loads only."""

    def load(self) -> pd.DataFrame | None:
        """Return them, see `churn.experiment.cohort`; None if there are none.

        If pointer, manifest or file are damaged, there are none, with a warning: the draw follows from the ids, so that the
        groups stay, and the campaign pipeline keeps the accounts that it has seen.
        """
        if not self._results.exists():
            return None
        try:
            manifest = self._results.manifest()
            if CAMPAIGN_ACCOUNTS not in manifest["files"]:
                return None
            name = f"{manifest['run_id']}/{CAMPAIGN_ACCOUNTS}"
            if self._store.sha256(name) != manifest["files"][CAMPAIGN_ACCOUNTS]["sha256"]:
                raise DamagedError(f"{self._store.address(name)} does not match its manifest")
            return StoredTable(self._store, name).frame()
        except (DamagedError, FileNotFoundError) as damage:
            logger.warning("The accounts of earlier campaigns are not known: %s", damage)
            return None

    def save(self, data: NoReturn) -> NoReturn:
        """Raise an error: the accounts are published with the results."""
        raise DatasetError(
            "the accounts of the campaigns cannot be saved by themselves; they are published with the results"
        )

    def _exists(self) -> bool:
        # No accounts are an answer too.
        return True


class _LogFiles(AccountsDataset):
    """Files of a log, which has none of the features of an account table."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._schema = outcome_schema(self._schema)


class ContactsDataset(AbstractDataset[pd.DataFrame, pd.DataFrame]):
    """A log of contacts in a CSV, Parquet or Excel file, or a folder of CSV or Parquet files, with all its columns.

    CSV files are read in any dialect, as account tables are. For a log in a database, put a ``pandas.SQLTableDataset`` or
    ``pandas.SQLQueryDataset`` in its place in the catalog.

    Example:
        ```yaml
        contacts:
          type: churn.datasets.OptionalDataset
          dataset:
            type: churn.datasets.ContactsDataset
            filepath: data/data-staging/contacts.csv
            schema: ${parameters:accounts}
        ```
    """

    def __init__(
        self,
        *,
        filepath: str,
        schema: dict[str, Any],
        sheet: str | int = 0,
        credentials: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Declare the log.

        Args:
            filepath: Path or URL of the file or folder.
            schema: The parameter block ``accounts``, for the id and the format of CSV files.
            sheet: Name of the sheet of an Excel file, or its position from 0.
            credentials: Arguments of the fsspec file system.
            metadata: For plugins; not read here.
        """
        self._filepath, self._sheet, self._credentials = filepath, sheet, credentials
        self._store = open_store(filepath, credentials)
        self._table: AccountsDataset | None = None
        if not filepath.lower().endswith(WORKBOOK):
            self._table = _LogFiles(filepath=filepath, schema=schema, credentials=credentials)
        self.metadata = metadata

    def load(self) -> pd.DataFrame:
        """Read the log; in CSV and Excel files, all cells are text, except for dates and numbers of Excel.

        Raises:
            ChurnError: If a file is empty, malformed or no log.
        """
        if self._table is not None:
            return self._table.load()
        return read_sheet(self._filepath, self._sheet, self._credentials)

    def save(self, data: pd.DataFrame) -> None:
        """Replace the log, in CSV or Parquet."""
        if self._table is None:
            raise DatasetError(f"{self._filepath}: a log is written as CSV or Parquet")
        self._table.save(data)

    def _exists(self) -> bool:
        return self._table.exists() if self._table is not None else self._store.exists()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath}


class CallEffectDataset(AbstractDataset[CallEffect, CallEffect | None]):
    """What the campaigns have shown so far, as JSON."""

    def __init__(
        self, *, filepath: str, credentials: dict[str, Any] | None = None, metadata: dict[str, Any] | None = None
    ) -> None:
        """Declare the file by its path or URL."""
        self._store = open_store(filepath, credentials)
        self.metadata = metadata

    def load(self) -> CallEffect | None:
        """Return it; None if no campaign was measured yet. A damaged file counts as none, with a warning."""
        if not self._store.exists():
            return None
        try:
            return CallEffect.model_validate(self._store.read_json())
        except (DamagedError, ValidationError) as damage:
            reason = str(damage).partition("\n")[0]
            logger.warning(
                "%s is damaged and not used, kedro run --pipelines campaign makes it anew: %s", self._store.uri, reason
            )
            return None

    def save(self, data: CallEffect) -> None:
        """Replace it."""
        self._store.write_json(data.model_dump(mode="json"))

    def _exists(self) -> bool:
        # Nothing known is an answer too.
        return True

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._store.uri}


class CampaignReportDataset(InResults, AbstractDataset[dict[str, Any], NoReturn]):
    """The campaign report of the results folder: ``metrics`` as JSON and the page ``html``."""

    def save(self, data: dict[str, Any]) -> None:
        """Write ``campaigns/campaign_report.json`` and ``campaigns/campaign_report.html``."""
        page = data["html"].encode()
        self._store.write_json(data["metrics"], f"campaigns/{REPORT}.json")
        self._store.write(lambda file: file.write(page), f"campaigns/{REPORT}.html")
        self.saved = data

    def load(self) -> NoReturn:
        """Raise an error: no pipeline reads the report."""
        raise DatasetError("the campaign report is not an input of any pipeline")

    @property
    def page(self) -> str:
        """Path or URL of the page."""
        return self._store.address(f"campaigns/{REPORT}.html")
