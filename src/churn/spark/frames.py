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
    """Published scores, as a Spark frame too."""

    def rows(self) -> "DataFrame":
        """The scores, and in ``_metadata.row_index`` where each row stands in the file."""
        from pyspark.sql import SparkSession

        return SparkSession.builder.getOrCreate().read.parquet(_address(self.uri))


class SparkTable(AccountBatches):
    """The same files, each as a Spark frame too."""

    def frames(self) -> "Iterator[DataFrame]":
        """A frame for each file, with its columns in its order: text from a CSV file, which the check reads by its roles."""
        from pyspark.sql import SparkSession
        from pyspark.sql.types import StringType, StructField, StructType

        spark = SparkSession.builder.getOrCreate()
        for file in self._tables.values():
            address = _address(file.uri)
            if file.is_parquet:
                yield spark.read.parquet(address)
                continue
            texts = StructType([StructField(name, StringType()) for name in file.columns])
            # A row with too few or too many cells ends the run.
            yield spark.read.csv(address, texts, sep=file.delimiter, header=True, escape='"', mode="FAILFAST")


def _address(uri: str) -> str:
    """A path or URL as Spark takes it, which would read some characters as a pattern, and calls S3 by another name."""
    if uri.startswith("s3://"):
        uri = f"s3a{uri.removeprefix('s3')}"
    escaped = re.sub(r"([][\\*?{}])", r"\\\1", uri if "://" in uri else str(Path(uri).absolute()))
    return escaped if "://" in uri else f"file://{escaped}"
