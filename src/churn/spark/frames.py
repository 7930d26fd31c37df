"""Tables in files as Spark frames."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from churn.tables.reading import AccountBatches
from churn.tables.stored import StoredTable

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


class SparkPredictions(StoredTable):
    """Published scores, which can also be read as a Spark frame."""

    def rows(self) -> "DataFrame":
        """Return the scores as a frame; its ``_metadata.row_index`` is the position of each row in the file."""
        from pyspark.sql import SparkSession

        return SparkSession.builder.getOrCreate().read.parquet(_address(self.uri))


class SparkTable(AccountBatches):
    """The files of an account table, which can also be read as Spark frames."""

    def frames(self) -> "Iterator[DataFrame]":
        """Yield a frame for each file, with its columns in their order; those of a CSV file are text until the check."""
        from pyspark.sql import SparkSession
        from pyspark.sql import functions as F  # noqa: N812, as everybody calls it
        from pyspark.sql.types import StringType, StructField, StructType

        spark = SparkSession.builder.getOrCreate()
        for file in self._tables.values():
            address = _address(file.uri)
            if file.is_parquet:
                rows = spark.read.parquet(address)
                _ = file.columns  # a column that pandas stored as an index may be described only
                numbers = file.row_numbers
                if numbers:
                    places = F.col("_metadata.row_index") * numbers.step + numbers.start
                    rows = rows.withColumn(numbers.name, places)
                yield rows
                continue
            texts = StructType([StructField(name, StringType()) for name in file.columns])
            # FAILFAST: a row with too few or too many cells is an error.
            yield spark.read.csv(address, texts, sep=file.delimiter, header=True, escape='"', mode="FAILFAST")


def _address(uri: str) -> str:
    """Return a path or URL in the form of Spark: glob characters escaped, and the scheme s3a for S3."""
    if uri.startswith("s3://"):
        uri = f"s3a{uri.removeprefix('s3')}"
    escaped = re.sub(r"([][\\*?{}])", r"\\\1", uri if "://" in uri else str(Path(uri).absolute()))
    return escaped if "://" in uri else f"file://{escaped}"
