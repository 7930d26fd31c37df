"""Tables and documents in files that are replaced atomically.

``pandas.ParquetDataset`` and ``json.JSONDataset`` lose the previous content if saving fails half-way, on disk as on S3.
Errors of the store are also reported in one sentence here, with the setting that may be wrong.
"""

from contextlib import ExitStack
from pathlib import PurePosixPath
from typing import Any

import pandas as pd
from kedro.io import AbstractDataset

from churn.stores import open_store
from churn.tables import Table
from churn.tables.stored import StoredTable


class TableDataset(AbstractDataset[pd.DataFrame, pd.DataFrame]):
    """A table in a Parquet file, with its types."""

    def __init__(
        self,
        *,
        filepath: str,
        most_rows: int | None = None,
        credentials: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Declare the file.

        Args:
            filepath: Path or URL.
            most_rows: Largest number of rows to load, evenly spaced; all by default.
            credentials: Arguments of the fsspec file system.
            metadata: For plugins; not read here.
        """
        self._store = open_store(filepath, credentials)
        self._most_rows = most_rows
        self.metadata = metadata

    def load(self) -> pd.DataFrame:
        """Read the table.

        Raises:
            ChurnError: If the file does not exist or is damaged.
        """
        return StoredTable(self._store).frame(most_rows=self._most_rows)

    def save(self, data: pd.DataFrame) -> None:
        """Replace the table."""
        import pyarrow as pa
        from pyarrow import parquet

        table = pa.Table.from_pandas(data, preserve_index=False)
        self._store.write(lambda file: parquet.write_table(table, file))

    def _exists(self) -> bool:
        return self._store.exists()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._store.uri}

    def preview(self, nrows: int = 5) -> Any:
        """Return the first rows for kedro-viz."""
        from kedro_datasets._typing import TablePreview

        return TablePreview(self.load().head(nrows).to_dict(orient="split"))


class BatchesDataset(AbstractDataset[Table, "StoredTable"]):
    """A table in a Parquet file that is written and read in batches."""

    def __init__(
        self, *, filepath: str, credentials: dict[str, Any] | None = None, metadata: dict[str, Any] | None = None
    ) -> None:
        """Declare the file by its path or URL."""
        self._store = open_store(filepath, credentials)
        self.metadata = metadata

    def load(self) -> "StoredTable":
        """Return the table, of which only the footer has been read.

        Raises:
            ChurnError: If the file does not exist or is damaged.
        """
        return StoredTable(self._store)

    def save(self, data: Table) -> None:
        """Replace the table; it is written in batches and becomes visible when it is complete."""
        import pyarrow as pa
        from pyarrow import parquet

        with self._store.writing() as file, ExitStack() as closing:
            writer = None
            for batch in data.batches():
                table = pa.Table.from_pandas(batch, preserve_index=False)
                if writer is None:
                    writer = closing.enter_context(parquet.ParquetWriter(file, table.schema))
                writer.write_table(table.cast(writer.schema))

    def _exists(self) -> bool:
        return self._store.exists()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._store.uri}


class DocumentDataset(AbstractDataset[Any, Any]):
    """A JSON document."""

    def __init__(
        self, *, filepath: str, credentials: dict[str, Any] | None = None, metadata: dict[str, Any] | None = None
    ) -> None:
        """Declare the file by its path or URL."""
        self._store = open_store(filepath, credentials)
        # Where kedro-mlflow finds the file that it logs.
        self._filepath = PurePosixPath(self._store.uri)
        self.metadata = metadata

    def load(self) -> Any:
        """Read the document.

        Raises:
            ChurnError: If the file does not exist or is not JSON.
        """
        return self._store.read_json()

    def save(self, data: Any) -> None:
        """Replace the document."""
        self._store.write_json(data)

    def _exists(self) -> bool:
        return self._store.exists()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._store.uri}

    def preview(self) -> Any:
        """Return the document for kedro-viz."""
        import json

        from kedro_datasets._typing import JSONPreview

        return JSONPreview(json.dumps(self.load()))
