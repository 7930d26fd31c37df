"""Intermediate tables between pipelines as Spark frames; this module requires pyspark."""

from typing import TYPE_CHECKING, Any

import pandas as pd
from kedro_datasets.spark import SparkDatasetV2

from churn.spark.session import explained
from churn.stores.partitions import Partitions

if TYPE_CHECKING:
    from churn.spark.rows import SparkRows


class SparkRowsDataset(SparkDatasetV2):  # type: ignore[misc]
    """A folder of Parquet files that Spark writes and reads."""

    def __init__(self, *, filepath: str, most_rows: int | None = None, credentials: Any = None, **options: Any) -> None:
        """Declare the folder.

        Args:
            filepath: Path or URL without a dot in its last part.
            most_rows: Load a pandas frame with at most this number of rows, evenly spaced.
            credentials: Arguments of the fsspec file system; those of Spark are in ``spark.yml``.
            options: Further options of ``spark.SparkDatasetV2``.
        """
        super().__init__(filepath=filepath, credentials=credentials, save_args={"mode": "overwrite"}, **options)
        self._files = Partitions(filepath, credentials)
        self._most_rows = most_rows

    def _load(self) -> "SparkRows | pd.DataFrame":
        """Return the table, whose rows are read when they are used, or the pandas frame.

        Raises:
            ChurnError: If Spark cannot read it.
        """
        from churn.spark.registration import register
        from churn.spark.rows import SparkRows

        register()
        with explained(self._files.uri):
            rows = SparkRows(super()._load())
            return rows if self._most_rows is None else rows.frame(most_rows=self._most_rows)

    def _save(self, data: "SparkRows") -> None:
        """Replace the table.

        Raises:
            ChurnError: If it cannot be written.
        """
        with explained(self._files.uri):
            super()._save(data.data)

    def _exists(self) -> bool:
        # Checked without Spark, which has not started when Kedro checks the inputs of a run.
        return self._files.exists()
