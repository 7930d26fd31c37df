"""Account tables as Spark frames; pyspark is imported only when a frame is loaded."""

from churn.datasets.accounts import AccountBatchesDataset, OutcomeBatchesDataset
from churn.datasets.results import ResultsDataset
from churn.spark.frames import SparkPredictions, SparkTable


class SparkAccountsDataset(AccountBatchesDataset):
    """The table of an `AccountBatchesDataset` as Spark frames; loads only.

    Unlike ``spark.SparkDatasetV2``, it reads several files in the order of their names and checks that their columns are
    equal: Spark reads the longest file first, and takes the columns of all files from one.
    """

    def load(self) -> "SparkTable":
        """Return the table, whose rows are read when they are used.

        Raises:
            ChurnError: If there is no file.
        """
        _register()
        return SparkTable(self._files, self._schema, labelled=self._labelled)


class SparkOutcomesDataset(OutcomeBatchesDataset):
    """The table of an `OutcomeBatchesDataset` as Spark frames; loads only."""

    def load(self) -> "SparkTable":
        """Return the table, whose rows are read when they are used.

        Raises:
            ChurnError: If there is no file.
        """
        return SparkTable(self._files, self._schema, labelled=self._labelled)


class SparkResultsDataset(ResultsDataset):
    """The results of a `ResultsDataset`, with the scores as a Spark frame."""

    def _predictions(self, name: str) -> "SparkPredictions":
        _register()
        return SparkPredictions(self._store, name)


def _register() -> None:
    """Register the implementations of the pipeline steps for Spark frames, when the first frame is loaded."""
    from churn.spark.registration import register

    register()
