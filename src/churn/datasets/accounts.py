"""Account tables as files, read by the roles of their columns."""

import logging
from typing import Any, NoReturn, TypeVar

import pandas as pd
from kedro.io import AbstractDataset, DatasetError

from churn.config import AccountSchema
from churn.errors import ChurnError
from churn.stores.partitions import Partitions
from churn.tables.csv import NULL_SPELLINGS, write_csv
from churn.tables.reading import AccountBatches, check_same_columns

logger = logging.getLogger(__name__)

_Saved = TypeVar("_Saved")
_Loaded = TypeVar("_Loaded")

# Name of the file in which a new table is saved to a folder.
ONLY_PARTITION = "part-0.parquet"


class _AccountFilesDataset(AbstractDataset[_Saved, _Loaded]):
    """Where a table lies and what its columns are."""

    def __init__(
        self,
        *,
        filepath: str,
        schema: dict[str, Any] | None = None,
        roles: dict[str, Any] | None = None,
        delimiter: str = ",",
        credentials: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Declare the table.

        Args:
            filepath: Path or URL that ends in ``.csv``, ``.csv.gz`` or ``.parquet``, or of a folder with such files.
            schema: The parameter block ``accounts``.
            roles: The name of ``schema`` before version 0.2; it still works, with a warning.
            delimiter: Character between the cells of a CSV file.
            credentials: Arguments of the fsspec file system.
            metadata: For plugins; not read here.

        Raises:
            ChurnError: If there is no schema, or two.
        """
        if roles is not None:
            logger.warning("%s: the option 'roles' is called 'schema' now; rename it in your catalog", filepath)
        given = [each for each in (schema, roles) if each is not None]
        if len(given) != 1:
            raise ChurnError(
                f"{filepath}: the data set needs one schema; give it as `schema: ${{parameters:accounts}}` in the catalog"
            )
        self._files = Partitions(filepath, credentials)
        self._schema = AccountSchema.model_validate(given[0])
        self._delimiter = delimiter
        self.metadata = metadata

    def _exists(self) -> bool:
        return self._files.exists()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._files.uri, "delimiter": self._delimiter}


class AccountsDataset(_AccountFilesDataset[pd.DataFrame, pd.DataFrame]):
    """An account table in a CSV or Parquet file.

    Why not ``pandas.CSVDataset``: the types of an account table follow from its roles. The id, the label and the
    categories are text whatever they look like, so that ``00123`` stays ``00123``; every other column is read as
    what it holds. Malformed files end in an error that names the file and the row.

    Example:
        ```yaml
        training_accounts:
          type: churn.datasets.AccountsDataset
          filepath: data/data-staging/training_data.csv
          schema: ${parameters:accounts}
        ```
    """

    def load(self) -> pd.DataFrame:
        """Read the table, all files of it.

        Raises:
            ChurnError: If there is no file, or one is empty or malformed or has other columns than the first.
        """
        names = self._files.names()
        frames = [self._load_file(name) for name in names]
        columns = [[str(column) for column in frame.columns] for frame in frames]
        check_same_columns(dict(zip(map(self._files.address, names), columns, strict=True)))
        return frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)

    def _load_file(self, name: str) -> pd.DataFrame:
        import pyarrow as pa

        uri = self._files.address(name)
        with self._files.store.reading(name) as file:
            try:
                table = self._read_parquet(file) if uri.endswith(".parquet") else self._read_csv(file)
            except pa.ArrowInvalid as error:
                raise ChurnError(f"{uri} cannot be read as an account table: {error}") from error
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
                column_types={name: pa.string() for name in self._schema.text_columns},
                null_values=NULL_SPELLINGS,
                strings_can_be_null=False,
            ),
        )

    def save(self, data: pd.DataFrame) -> None:
        """Replace the table as a whole; in a folder by a single file.

        Raises:
            ChurnError: If it cannot be written, or the folder holds files that are not from here.
        """
        import pyarrow as pa
        from pyarrow import parquet

        name = ONLY_PARTITION if self._files.is_folder else ""
        if self._files.is_folder and self._files.exists() and self._files.names() != [name]:
            raise ChurnError(f"{self._files.uri} holds other files than {name}; a new table would be mixed with them")
        table = pa.Table.from_pandas(data, preserve_index=False)
        if self._files.address(name).endswith(".parquet"):
            self._files.store.write(lambda file: parquet.write_table(table, file), name)
        else:
            self._files.store.write(lambda file: write_csv(table, file), name)

    def preview(self, nrows: int = 5) -> Any:
        """First rows, for kedro-viz."""
        from kedro_datasets._typing import TablePreview

        return TablePreview(self.load().head(nrows).to_dict(orient="split"))


class AccountBatchesDataset(_AccountFilesDataset[NoReturn, "AccountBatches"]):
    """The table of an `AccountsDataset`, loaded a batch at a time; loads only."""

    def __init__(self, *, labelled: bool = False, **options: Any) -> None:
        """Declare the table.

        Args:
            labelled: Whether the label is read too.
            options: As those of an `AccountsDataset`.
        """
        super().__init__(**options)
        self._labelled = labelled

    def load(self) -> "AccountBatches":
        """The table, of which nothing has been read yet.

        Raises:
            ChurnError: If there is no file.
        """
        return AccountBatches(self._files, self._schema, self._delimiter, self._labelled)

    def save(self, data: NoReturn) -> NoReturn:
        """Refused: the content is written through the table's own entry."""
        raise DatasetError("batches are not saved; save the table")


class OutcomeBatchesDataset(AccountBatchesDataset):
    """What became of accounts, loaded a batch at a time; loads only. Of the table, the id and the label are read."""

    def __init__(self, **options: Any) -> None:
        """Declare the table.

        Args:
            options: As those of an `AccountsDataset`.
        """
        super().__init__(labelled=True, **options)
        self._schema = outcome_schema(self._schema)


def outcome_schema(schema: AccountSchema) -> AccountSchema:
    """The roles of a table that has outcomes and nothing that a model uses."""
    return schema.model_copy(update={"numeric": (), "categorical": (), "not_above": ()})
