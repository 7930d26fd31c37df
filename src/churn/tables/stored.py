"""Tables in Parquet files, read in batches."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from churn.tables.files import FileStore, parquet_file
from churn.tables.reading import BATCH_ROWS
from churn.tables.table import Table, spacing

if TYPE_CHECKING:
    import pyarrow as pa


class StoredTable(Table):
    """A table in a Parquet file."""

    def __init__(self, store: FileStore, name: str = "") -> None:
        """Read the columns and the number of rows from the file's footer.

        Args:
            store: Store that holds the file.
            name: Name of the file in the store; empty if the store is a single file.

        Raises:
            ChurnError: If the file does not exist or is damaged.
        """
        self._store, self._name = store, name
        with parquet_file(store, name) as described:
            self._columns, self._rows = list(described.schema_arrow.names), int(described.metadata.num_rows)

    @property
    def uri(self) -> str:
        """Path or URL of the file."""
        return self._store.address(self._name)

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return self._columns

    def __len__(self) -> int:
        """Number of rows."""
        return self._rows

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
        """Iterate over all rows in batches.

        Raises:
            ChurnError: If the file is damaged.
        """
        for batch in self._read(columns):
            yield batch.to_pandas()

    def frame(self, columns: Sequence[str] | None = None, most_rows: int | None = None) -> pd.DataFrame:
        """Return rows as one frame, see `Table.frame`; rows that are left out are not converted to pandas."""
        import pyarrow as pa

        step = spacing(len(self), most_rows) if most_rows else 1
        parts, before = [], 0
        for batch in self._read(columns):
            parts.append(batch.take(np.arange(-before % step, len(batch), step)) if step > 1 else batch)
            before += len(batch)
        whole: pd.DataFrame = pa.Table.from_batches(parts).to_pandas()
        return whole

    def _read(self, columns: Sequence[str] | None) -> Iterator["pa.RecordBatch"]:
        """Iterate over all rows in batches; yields at least one batch, which may be empty."""
        import pyarrow as pa

        wanted, empty = self._columns if columns is None else list(columns), True
        with parquet_file(self._store, self._name) as table:
            for batch in table.iter_batches(BATCH_ROWS, columns=wanted):
                empty = False
                yield batch.select(wanted)
            if empty:
                yield pa.RecordBatch.from_pylist([], schema=table.schema_arrow).select(wanted)
