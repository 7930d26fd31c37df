"""Account tables as Spark frames; pyspark itself is imported when a frame is asked for."""

from churn.datasets.accounts import AccountBatchesDataset, OutcomeBatchesDataset
from churn.datasets.results import ResultsDataset
from churn.spark.frames import SparkPredictions, SparkTable


class SparkAccountsDataset(AccountBatchesDataset):
    """The table of an `AccountBatchesDataset` as Spark frames; loads only.

    Why not ``spark.SparkDatasetV2``: Spark reads the longest of several files first, and takes the columns of all of them from
    one. A table has the order of its files' names, whoever reads it.
    """

    def load(self) -> "SparkTable":
        """The table, of which nothing has been read yet.

        Raises:
            ChurnError: If there is no file.
        """
        _register()
        return SparkTable(self._files, self._schema, self._delimiter, self._labelled)


class SparkOutcomesDataset(OutcomeBatchesDataset):
    """The table of an `OutcomeBatchesDataset` as Spark frames; loads only."""

    def load(self) -> "SparkTable":
        """The table, of which nothing has been read yet.

        Raises:
            ChurnError: If there is no file.
        """
        return SparkTable(self._files, self._schema, self._delimiter, self._labelled)


class SparkResultsDataset(ResultsDataset):
    """The results of a `ResultsDataset`, their scores as a Spark frame."""

    def _predictions(self, name: str) -> "SparkPredictions":
        _register()
        return SparkPredictions(self._store, name)


def _register() -> None:
    """Make the steps of the pipelines known for Spark frames, when the first is asked for."""
    from churn.spark.registration import register

    register()
