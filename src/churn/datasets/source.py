"""The account table of an environment, wherever it is: files, a workbook or a database."""

from collections.abc import Iterator
from typing import Any, NoReturn

import pandas as pd
from kedro.io import AbstractDataset, DatasetError

from churn.config import AccountSchema
from churn.config.source import Source
from churn.datasets.databases import read_database
from churn.datasets.workbooks import read_sheet
from churn.errors import ChurnError
from churn.stores import open_store
from churn.stores.partitions import Partitions
from churn.tables.reading import AccountBatches


class SourceDataset(AbstractDataset[NoReturn, pd.DataFrame]):
    """The account table of an environment; loads only.

    Example:
        ```yaml
        source_accounts:
          type: churn.datasets.SourceDataset
          filepath: data/customers.xlsx       # or {path: postgresql://crm/sales, table: customers}
          schema: ${parameters:accounts}
        ```
    """

    def __init__(
        self,
        *,
        filepath: str | dict[str, Any],
        schema: dict[str, Any],
        credentials: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Declare the table.

        Args:
            filepath: Path or URL, or a mapping with the fields of `churn.config.source.Source`.
            schema: The parameter block ``accounts``.
            credentials: Arguments of the fsspec file system.
            metadata: For plugins; not read here.

        Raises:
            ChurnError: If the source is of an unknown kind.
        """
        self._source = Source.of(filepath)
        self._schema = AccountSchema.model_validate(schema)
        self._credentials = credentials
        if not (self._source.is_database or self._source.is_workbook):
            Partitions(self._source.path, credentials)  # refuses a file of an unknown format
        self.metadata = metadata

    def load(self) -> pd.DataFrame:
        """Read the table with all its columns.

        Raises:
            ChurnError: If it cannot be read.
        """
        parts = list(source_frames(self._source, self._schema, self._credentials))
        frame = parts[0] if len(parts) == 1 else pd.concat(parts, ignore_index=True)
        return with_row_number(frame, self._schema.id) if self._source.row_number else frame

    def save(self, data: NoReturn) -> NoReturn:
        """Raise an error: nothing is written to a source."""
        raise DatasetError("a source is read only")

    def _exists(self) -> bool:
        source = self._source
        if source.is_database:
            return True
        if source.is_workbook:
            return open_store(source.path, self._credentials).exists()
        return Partitions(source.path, self._credentials).exists()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._source.shown, "sheet": self._source.sheet, "table": self._source.table}

    def preview(self, nrows: int = 5) -> Any:
        """Return the first rows for kedro-viz."""
        from kedro_datasets._typing import TablePreview

        return TablePreview(self.load().head(nrows).to_dict(orient="split"))


def source_frames(
    source: Source, schema: AccountSchema, credentials: dict[str, Any] | None = None
) -> Iterator[pd.DataFrame]:
    """Yield the rows of a source in parts, with all columns; raises the errors of the readers.

    Args:
        source: The source.
        schema: Schema of the table, with the format of CSV files.
        credentials: Arguments of the fsspec file system.
    """
    if source.is_database:
        yield from read_database(source)
    elif source.is_workbook:
        yield read_sheet(source.path, source.sheet, credentials)
    else:
        table = AccountBatches(Partitions(source.path, credentials), schema, every_column=True)
        found = False
        for frame in table:
            found = True
            yield frame
        if not found:
            yield table.frame()


def with_row_number(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return rows with their number, from 1, as a first column.

    Raises:
        ChurnError: If there is a column of that name.
    """
    if name in frame.columns:
        raise ChurnError(
            f"the table has a column {name}; take row_number out of source_accounts, or give accounts.id another name"
        )
    return pd.DataFrame({name: [str(number) for number in range(1, len(frame) + 1)], **dict(frame.items())})
