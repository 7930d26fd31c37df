"""Account tables in files, read according to their schema."""

import logging
from typing import Any, NoReturn, TypeVar

import pandas as pd
from kedro.io import AbstractDataset, DatasetError

from churn.config import AccountSchema, FileFormat
from churn.errors import ChurnError
from churn.stores.partitions import Partitions
from churn.tables.csv import write_csv
from churn.tables.reading import AccountBatches

logger = logging.getLogger(__name__)

_Saved = TypeVar("_Saved")
_Loaded = TypeVar("_Loaded")

# Name of the file in which a new table is saved to a folder.
ONLY_PARTITION = "part-0.parquet"


class _AccountFilesDataset(AbstractDataset[_Saved, _Loaded]):
    """Location and schema of an account table."""

    def __init__(
        self,
        *,
        filepath: str,
        schema: dict[str, Any] | None = None,
        roles: dict[str, Any] | None = None,
        delimiter: str | None = None,
        credentials: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Declare the table.

        Args:
            filepath: Path or URL of a CSV or Parquet file, perhaps compressed, or of a folder with such files; see
                `churn.stores.partitions.FORMATS`.
            schema: The parameter block ``accounts``.
            roles: The name of ``schema`` before version 0.2; it still works, with a warning.
            delimiter: Character between the cells of a CSV file; stronger than ``format.delimiter`` of the schema.
            credentials: Arguments of the fsspec file system.
            metadata: For plugins; not read here.

        Raises:
            ChurnError: If no schema is given, or both `schema` and `roles`.
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
        if delimiter is not None:
            changed = FileFormat.model_validate({**self._schema.format.model_dump(), "delimiter": delimiter})
            self._schema = self._schema.model_copy(update={"format": changed})
        self.metadata = metadata

    def _exists(self) -> bool:
        return self._files.exists()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._files.uri, "delimiter": self._schema.format.delimiter}


class AccountsDataset(_AccountFilesDataset[pd.DataFrame, pd.DataFrame]):
    """An account table in CSV or Parquet files.

    It reads the files as `AccountBatches` does, with all their columns. In a CSV file, numeric columns of the schema are
    numbers, and all other columns are text, so that ``00123`` stays ``00123``. The error for a malformed file names the file
    and the row.

    Example:
        ```yaml
        training_accounts:
          type: churn.datasets.AccountsDataset
          filepath: data/data-staging/training_data.csv
          schema: ${parameters:accounts}
        ```
    """

    def load(self) -> pd.DataFrame:
        """Read all files of the table.

        Raises:
            ChurnError: If there is no file, or a file is empty or malformed, or its columns differ from those of the first.
        """
        return AccountBatches(self._files, self._schema, every_column=True).frame()

    def save(self, data: pd.DataFrame) -> None:
        """Replace the whole table; in a folder, write a single file.

        Raises:
            ChurnError: If it cannot be written, or the folder has files that this data set did not write.
        """
        import pyarrow as pa
        from pyarrow import parquet

        name = ONLY_PARTITION if self._files.is_folder else ""
        if self._files.is_folder and self._files.exists() and self._files.names() != [name]:
            raise ChurnError(
                f"{self._files.uri} has other files than {name}, with which the new table would be mixed; move them away"
            )
        table = pa.Table.from_pandas(data, preserve_index=False)
        if self._files.address(name).lower().endswith(".parquet"):
            self._files.store.write(lambda file: parquet.write_table(table, file), name)
        else:
            self._files.store.write(lambda file: write_csv(table, file, written_as=self._schema.format), name)

    def preview(self, nrows: int = 5) -> Any:
        """Return the first rows for kedro-viz."""
        from kedro_datasets._typing import TablePreview

        return TablePreview(self.load().head(nrows).to_dict(orient="split"))


class AccountBatchesDataset(_AccountFilesDataset[NoReturn, "AccountBatches"]):
    """The table of an `AccountsDataset`, loaded in batches; loads only."""

    def __init__(self, *, labelled: bool = False, **options: Any) -> None:
        """Declare the table.

        Args:
            labelled: Whether to read the label too.
            options: Further options of `AccountsDataset`.
        """
        super().__init__(**options)
        self._labelled = labelled

    def load(self) -> "AccountBatches":
        """Return the table, whose rows are read when it is iterated over.

        Raises:
            ChurnError: If there is no file.
        """
        return AccountBatches(self._files, self._schema, labelled=self._labelled)

    def save(self, data: NoReturn) -> NoReturn:
        """Raise an error: the table is saved through its own catalog entry."""
        raise DatasetError("batches cannot be saved; save the table through its own catalog entry")


class OutcomeBatchesDataset(AccountBatchesDataset):
    """Outcomes of accounts, loaded in batches; loads only. Only the id and the label are read."""

    def __init__(self, **options: Any) -> None:
        """Declare the table.

        Args:
            options: Options of `AccountsDataset`.
        """
        super().__init__(labelled=True, **options)
        self._schema = outcome_schema(self._schema)


def outcome_schema(schema: AccountSchema) -> AccountSchema:
    """Return the schema of a table of outcomes, which has no features."""
    return schema.model_copy(update={"numeric": (), "categorical": (), "carry": (), "not_above": ()})
