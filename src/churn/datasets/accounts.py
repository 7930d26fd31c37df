"""Account tables as files, read by the roles of their columns."""

from typing import Any

import pandas as pd
from kedro.io import AbstractDataset

from churn.datasets._csv import write_csv
from churn.errors import ChurnError
from churn.parameters import Accounts
from churn.stores import open_store

# Spellings of "no value" in a numeric column. In a text column only an empty cell is missing: NA is also Namibia.
NULL_SPELLINGS = ["", "NA", "N/A", "#N/A", "NaN", "nan", "NULL", "null", "None"]


class AccountsDataset(AbstractDataset[pd.DataFrame, pd.DataFrame]):
    """An account table in a CSV or Parquet file.

    Why not ``pandas.CSVDataset``: the types of an account table follow from its roles. The id, the label and the
    categories are text whatever they look like, so that ``00123`` stays ``00123``; every other column is read as
    what it holds. Malformed files end in an error that names the file and the row.

    Example:
        ```yaml
        training_accounts:
          type: churn.datasets.AccountsDataset
          filepath: data/data-staging/training_data.csv
          roles: ${parameters:accounts}
        ```
    """

    def __init__(
        self,
        *,
        filepath: str,
        roles: dict[str, Any],
        delimiter: str = ",",
        credentials: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Declare the table.

        Args:
            filepath: Path or URL that ends in ``.csv``, ``.csv.gz`` or ``.parquet``.
            roles: The parameter block ``accounts``.
            delimiter: Character between the cells of a CSV file.
            credentials: Arguments of the fsspec file system.
            metadata: For plugins; not read here.
        """
        self._store = open_store(filepath, credentials)
        self._text_columns = Accounts.model_validate(roles).text_columns
        self._delimiter = delimiter
        self.metadata = metadata
        if ".csv" not in filepath and not filepath.endswith(".parquet"):
            raise ChurnError(f"{filepath}: an account table is a .csv, .csv.gz or .parquet file")

    def load(self) -> pd.DataFrame:
        """Read the table.

        Raises:
            ChurnError: If the file does not exist, is empty or malformed.
        """
        import pyarrow as pa

        with self._store.reading() as file:
            try:
                table = self._read_parquet(file) if self._store.uri.endswith(".parquet") else self._read_csv(file)
            except pa.ArrowInvalid as error:
                raise ChurnError(f"{self._store.uri} cannot be read as an account table: {error}") from error
        frame: pd.DataFrame = table.to_pandas()
        return frame

    def _read_parquet(self, file: Any) -> Any:
        from pyarrow import parquet

        return parquet.read_table(file)

    def _read_csv(self, file: Any) -> Any:
        import pyarrow as pa
        from pyarrow import csv

        return csv.read_csv(
            file,
            parse_options=csv.ParseOptions(delimiter=self._delimiter),
            convert_options=csv.ConvertOptions(
                column_types={name: pa.string() for name in self._text_columns},
                null_values=NULL_SPELLINGS,
                strings_can_be_null=False,
            ),
        )

    def save(self, data: pd.DataFrame) -> None:
        """Replace the table as a whole."""
        import pyarrow as pa
        from pyarrow import parquet

        table = pa.Table.from_pandas(data, preserve_index=False)
        if self._store.uri.endswith(".parquet"):
            self._store.write(lambda file: parquet.write_table(table, file))
        else:
            self._store.write(lambda file: write_csv(table, file))

    def _exists(self) -> bool:
        return self._store.exists()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._store.uri, "delimiter": self._delimiter}

    def preview(self, nrows: int = 5) -> Any:
        """First rows, for kedro-viz."""
        from kedro_datasets._typing import TablePreview

        return TablePreview(self.load().head(nrows).to_dict(orient="split"))
