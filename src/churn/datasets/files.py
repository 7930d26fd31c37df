"""Tables and documents as files that are replaced as a whole.

Why not ``pandas.ParquetDataset`` and ``json.JSONDataset``: where their save fails half-way, what stood there before is
gone, on a disk as on S3. And what a store answers is told in a sentence here, with the setting that may be wrong.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from kedro.io import AbstractDataset

from churn.datasets.accounts import BATCH_ROWS
from churn.errors import ChurnError
from churn.stores import Store, open_store
from churn.tables import Table, spacing

if TYPE_CHECKING:
    import pyarrow as pa


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
            most_rows: Rows that are loaded of a longer table, evenly spaced; all by default.
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
        """First rows, for kedro-viz."""
        from kedro_datasets._typing import TablePreview

        return TablePreview(self.load().head(nrows).to_dict(orient="split"))


class BatchesDataset(AbstractDataset[Table, "StoredTable"]):
    """A table in a Parquet file that is written and read a batch at a time."""

    def __init__(
        self, *, filepath: str, credentials: dict[str, Any] | None = None, metadata: dict[str, Any] | None = None
    ) -> None:
        """Declare the file by its path or URL."""
        self._store = open_store(filepath, credentials)
        self.metadata = metadata

    def load(self) -> "StoredTable":
        """The table, of which nothing has been read yet but what its columns are.

        Raises:
            ChurnError: If the file does not exist or is damaged.
        """
        return StoredTable(self._store)

    def save(self, data: Table) -> None:
        """Replace the table, batch by batch; as a whole, for those who read it."""
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


class StoredTable(Table):
    """A table in a Parquet file."""

    def __init__(self, store: Store, name: str = "") -> None:
        """Look at the file.

        Args:
            store: Where it is.
            name: Which file of the store.

        Raises:
            ChurnError: If it does not exist or is damaged.
        """
        from pyarrow import parquet

        self._store, self._name = store, name
        with store.reading(name) as file, self._explained():
            described = parquet.ParquetFile(file)
            self._columns, self._rows = list(described.schema_arrow.names), int(described.metadata.num_rows)

    @property
    def uri(self) -> str:
        """Path or URL of the file."""
        return self._store.address(self._name)

    @property
    def columns(self) -> list[str]:
        """Names of its columns."""
        return self._columns

    def __len__(self) -> int:
        """How many rows there are."""
        return self._rows

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
        """All rows, a batch at a time.

        Raises:
            ChurnError: If the file is damaged.
        """
        for batch in self._read(columns):
            yield batch.to_pandas()

    def frame(self, columns: Sequence[str] | None = None, most_rows: int | None = None) -> pd.DataFrame:
        """Rows as one frame, as of any table; of a row that is not wanted no more is made than its values in the file."""
        import pyarrow as pa

        step = spacing(len(self), most_rows) if most_rows else 1
        parts, before = [], 0
        for batch in self._read(columns):
            parts.append(batch.take(np.arange(-before % step, len(batch), step)) if step > 1 else batch)
            before += len(batch)
        whole: pd.DataFrame = pa.Table.from_batches(parts).to_pandas()
        return whole

    def _read(self, columns: Sequence[str] | None) -> Iterator["pa.RecordBatch"]:
        """All rows in batches, of which there is at least one."""
        import pyarrow as pa
        from pyarrow import parquet

        with self._store.reading(self._name) as file, self._explained():
            table, empty = parquet.ParquetFile(file), True
            wanted = self._columns if columns is None else list(columns)
            for batch in table.iter_batches(BATCH_ROWS, columns=wanted):
                empty = False
                yield batch.select(wanted)
            if empty:
                yield pa.RecordBatch.from_pylist([], schema=table.schema_arrow).select(wanted)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        import pyarrow as pa

        try:
            yield
        except pa.ArrowInvalid as error:
            raise ChurnError(f"{self.uri} cannot be read as a table: {error}") from error


class DocumentDataset(AbstractDataset[Any, Any]):
    """A JSON document."""

    def __init__(
        self, *, filepath: str, credentials: dict[str, Any] | None = None, metadata: dict[str, Any] | None = None
    ) -> None:
        """Declare the file by its path or URL."""
        self._store = open_store(filepath, credentials)
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
        """The document, for kedro-viz."""
        import json

        from kedro_datasets._typing import JSONPreview

        return JSONPreview(json.dumps(self.load()))
