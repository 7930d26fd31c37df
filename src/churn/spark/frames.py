"""Tables in files as Spark frames."""

import re
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from churn.errors import ChurnError
from churn.tables.csv_file import CsvFile
from churn.tables.dialect import placeholders
from churn.tables.reading import AccountBatches, TableFile
from churn.tables.stored import StoredTable
from churn.tables.text import UNREADABLE

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession


class SparkPredictions(StoredTable):
    """Published scores, which can also be read as a Spark frame."""

    def rows(self) -> "DataFrame":
        """Return the scores as a frame; its ``_metadata.row_index`` is the position of each row in the file."""
        from pyspark.sql import SparkSession

        return SparkSession.builder.getOrCreate().read.parquet(_address(self.uri))


class SparkTable(AccountBatches):
    """The files of an account table, which can also be read as Spark frames."""

    def frames(self) -> "Iterator[DataFrame]":
        """Yield a frame for each file; those of a CSV file are text until the check.

        Spark reads the files that any reader of CSV reads in the same way, in many tasks. Files of other dialects are read as
        on one machine, each in one task of Python, so that the rows are the same.
        """
        from pyspark.sql import SparkSession

        spark = SparkSession.builder.getOrCreate()
        _ = self.columns  # tells how the files are read
        for table in self._tables.values():
            if table.csv is None:
                yield _read_parquet(spark, table)
            elif _is_for_spark(table):
                yield _read_by_spark(spark, table.csv, self._wanted)
            else:
                if table.csv.has_line_breaks:
                    _look_at_quotes(table.csv)
                yield _read_here(spark, table.csv, [name for name in table.csv.columns if name in self._wanted])

    def examine(self) -> None:
        """Find the rows that Spark calls malformed.

        Raises:
            ChurnError: Names the rows, or the parameter with which the files can be read.
        """
        for table in self._tables.values():
            if table.csv is not None:
                _look_at_quotes(table.csv)
        raise ChurnError(
            "quoted cells have line breaks, which begin only after the first MiB of a file; set accounts.format.line_breaks to "
            "true, and Spark reads each file in one task"
        )


def _read_parquet(spark: "SparkSession", table: TableFile) -> "DataFrame":
    from pyspark.sql import functions as F  # noqa: N812, as everybody calls it

    rows = spark.read.parquet(_address(table.uri))
    numbers = table.row_numbers  # a column that pandas stored as an index may be described only
    if numbers is None:
        return rows
    return rows.withColumn(numbers.name, F.col("_metadata.row_index") * numbers.step + numbers.start)


def _look_at_quotes(file: CsvFile) -> None:
    """Read a file on the driver: warnings about quotes would be lost in the workers, and rows there cannot be counted."""
    deque(file.tables(file.columns[:1]), maxlen=0)


def _is_for_spark(table: TableFile) -> bool:
    """Return whether Spark's own reader reads the same rows as the reader on one machine."""
    # Spark knows compression by the end of the name.
    ends = {None: not table.uri.endswith((".gz", ".zst", ".zip")), "gzip": table.uri.endswith(".gz")}
    csv = table.csv
    return csv is not None and ends.get(table.compression, False) and csv.is_common


def _read_by_spark(spark: "SparkSession", file: CsvFile, wanted: set[str]) -> "DataFrame":
    from pyspark.sql import functions as F  # noqa: N812, as everybody calls it
    from pyspark.sql.types import StringType, StructField, StructType

    from churn.spark.rows import column

    layout = file.dialect.layout
    texts = StructType([StructField(name, StringType()) for name in placeholders(layout.names)])
    # FAILFAST: a row with too few or too many cells is an error.
    frame = spark.read.csv(_address(file.uri), texts, sep=layout.delimiter, header=True, escape='"', mode="FAILFAST")
    # Spark replaces bytes that are not UTF-8 in silence.
    fault = F.raise_error(
        F.lit(f"{file.uri}: bytes that are not UTF-8, after the first MiB of the file; set accounts.format.encoding")
    )
    return frame.select(
        *(
            F.when(column(name).contains(UNREADABLE), fault).otherwise(column(name)).alias(name)
            for name in frame.columns
            if name in wanted
        )
    )


def _read_here(spark: "SparkSession", file: CsvFile, names: list[str]) -> "DataFrame":
    """Return the rows of a file, read in one task by Python."""
    from pyspark.sql.types import StringType, StructField, StructType

    def read(_: "Iterable[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
        for table, _done in file.tables(names, as_text=True):
            yield from table.select(names).to_batches()

    texts = StructType([StructField(name, StringType()) for name in names])
    return spark.range(0, 1, 1, 1).mapInArrow(read, texts)


def _address(uri: str) -> str:
    """Return a path or URL in the form of Spark: glob characters escaped, and the scheme s3a for S3."""
    if uri.startswith("s3://"):
        uri = f"s3a{uri.removeprefix('s3')}"
    escaped = re.sub(r"([][\\*?{}])", r"\\\1", uri if "://" in uri else str(Path(uri).absolute()))
    return escaped if "://" in uri else f"file://{escaped}"
