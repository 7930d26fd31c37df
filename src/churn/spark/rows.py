"""Rows of Spark frames with their position in the table."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

import pandas as pd
import pyarrow as pa
from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F  # noqa: N812, as everybody calls it
from pyspark.sql.types import ByteType, DataType, DoubleType, FloatType, LongType, StringType, StructType

from churn.tables import Table, spacing

# Name of the column with the position of a row, from 0; no column of an account table may have it.
ROW = "(row)"


class SparkRows(Table):
    """A Spark frame as a table; the driver holds only the rows that are requested.

    Attributes:
        data: The frame; its column ``(row)`` numbers the rows from 0, in the order of the table.
    """

    is_distributed = True

    def __init__(self, data: DataFrame, rows: int | None = None, source: object = None) -> None:
        """Declare the rows.

        Args:
            data: Frame with the column ``(row)``.
            rows: Number of rows, if known.
            source: Object to keep alive as long as these rows, for example the owner of a persisted frame.
        """
        self.data, self._rows, self._source = data, rows, source

    @cached_property
    def columns(self) -> list[str]:
        """Names of the columns, without ``(row)``."""
        return [name for name in self.data.columns if name != ROW]

    def __len__(self) -> int:
        """Number of rows."""
        if self._rows is None:
            self._rows = self.data.count()
        return self._rows

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
        """Iterate over all rows in their order, in batches."""
        chosen = self._chosen(columns).orderBy(column(ROW))
        for row in chosen.mapInArrow(packed, PACKED).toLocalIterator(prefetchPartitions=True):
            yield unpacked_rows(row).to_pandas().drop(columns=ROW)

    def frame(self, columns: Sequence[str] | None = None, most_rows: int | None = None) -> pd.DataFrame:
        """Return rows as one frame on the driver, see `churn.tables.table.Table.frame`."""
        chosen = self._chosen(columns)
        step = spacing(len(self), most_rows) if most_rows else 1
        if step > 1:
            chosen = chosen.where(column(ROW) % step == 0)
        collected: pd.DataFrame = chosen.toArrow().to_pandas()
        return collected.sort_values(ROW, ignore_index=True).drop(columns=ROW)

    def _chosen(self, columns: Sequence[str] | None) -> DataFrame:
        return self.data.select(*map(column, [ROW, *(self.columns if columns is None else columns)]))


def column(name: str) -> Column:
    """Return a column whose name may contain any character."""
    return F.col("`" + name.replace("`", "``") + "`")


# Schema of the rows that `packed` returns.
PACKED = "rows binary"


def packed(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Pack each batch into one row of bytes, as Spark is slow in passing many single rows to the driver."""
    for batch in batches:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as stream:
            stream.write_batch(batch)
        yield pa.RecordBatch.from_arrays([pa.array([sink.getvalue().to_pybytes()], pa.binary())], names=["rows"])


def unpacked_rows(row: Row) -> pa.Table:
    """Return the rows of a packed batch."""
    return pa.ipc.open_stream(row["rows"]).read_all()


_ARROW: dict[type[DataType], pa.DataType] = {
    ByteType: pa.int8(),
    DoubleType: pa.float64(),
    FloatType: pa.float32(),
    LongType: pa.int64(),
    StringType: pa.string(),
}


def arrow_schema(row_schema: StructType) -> pa.Schema:
    """Convert a Spark schema to an Arrow schema."""
    return pa.schema([(item.name, _ARROW[type(item.dataType)]) for item in row_schema])


def as_batch(columns: Any, row_schema: pa.Schema, rows: int) -> pa.RecordBatch:
    """Return columns as an Arrow batch for Spark; absent columns are null, and nan becomes null.

    Args:
        columns: A frame, or a mapping with values by name.
        row_schema: Schema of the batch.
        rows: Number of rows.
    """
    arrays = [
        pa.array(columns[item.name], type=item.type, from_pandas=True)
        if item.name in columns
        else pa.nulls(rows, item.type)
        for item in row_schema
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=row_schema)
