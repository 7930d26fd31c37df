"""Grow the booster on Spark with XGBoost's own estimator, fold by fold, on rows that the driver never holds."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812, as everybody calls it
from pyspark.sql.pandas.functions import arrow_udf

from churn.config import Training
from churn.config.console import with_bar
from churn.errors import ChurnError, ParametersError
from churn.spark.rows import ROW, SparkRows, column
from churn.spark.session import reason_of
from churn.training.boosting import FittedTrees, Grown, booster_parameters, merge
from churn.training.rows import TrainingRows

logger = logging.getLogger(__name__)

# Setting of spark.yml: number of tasks that grow a booster together; by default all that can run at once.
WORKERS = "spark.churn.training.workers"
# Number of attempts for a fold if Spark loses workers.
ATTEMPTS = 3
# Error code of Spark if it can never run all tasks of a booster at once.
TOO_FEW_CORES = "SPARK-24819"
# Setting of Spark: largest number of rows of a batch that a Python worker receives.
BATCH_ROWS = "spark.sql.execution.arrow.maxRecordsPerBatch"
# With so many rows for each fold, the chance that a batch lacks a fold is below one in ten million.
ROWS_PER_FOLD = 15
LABEL, PART, WATCHED = "label", "part", "watched"


def fit_booster_on_spark(
    features: SparkRows,
    names: Sequence[str],
    label: str,
    parts: NDArray[np.int8],
    watched: TrainingRows,
    training: Training,
) -> FittedTrees:
    """Fit the booster to rows on Spark, see `churn.training.boosting.fit_booster_of`.

    Raises:
        ParametersError: If a parameter is not supported on Spark.
        ChurnError: If the session is one of Spark Connect, or training failed `ATTEMPTS` times.
    """
    check_trainable(features, training)
    # XGBoost does not allow brackets in feature names, and needs no names.
    plain = [f"f{position}" for position in range(len(names))]

    def part_of(row: pa.Array) -> pa.Array:
        return pa.array(parts[row.to_numpy()])

    in_part = arrow_udf(part_of, "byte")  # type: ignore[call-overload]  # the stubs know no default of its kind
    rows = features.data.select(
        column(ROW),
        column(label).cast("double").alias(LABEL),
        in_part(column(ROW)).alias(PART),
        *(column(name).alias(short) for name, short in zip(names, plain, strict=True)),
    )
    rate = float(rows.agg(F.avg(LABEL)).collect()[0][0])
    count = watched.fold_count
    growth = Growth(rows, plain, rate, training, watched)
    try:
        grown = [growth.grow(fold) for fold in with_bar(range(count), "growing trees on Spark", count)]
    finally:
        growth.release()
    return merge(grown, watched)


def check_trainable(features: SparkRows, training: Training) -> None:
    """Check that a booster can be grown on Spark.

    Raises:
        ParametersError: If a parameter is not supported.
        ChurnError: If the session is one of Spark Connect.
    """
    if training.booster.tree_method == "exact":
        raise ParametersError(
            "parameters", ["training.booster.tree_method = 'exact' is not supported on Spark; use 'hist'"]
        )
    if type(features.data).__module__.startswith("pyspark.sql.connect"):
        raise ChurnError(
            "XGBoost cannot train through Spark Connect: set `master` instead of `remote` in conf/spark/spark.yml for the "
            "pipeline training"
        )


class Growth:
    """Grow the boosters of the folds on persisted rows, which are spread over the tasks."""

    def __init__(
        self,
        rows: DataFrame,
        names: Sequence[str],
        rate: float,
        training: Training,
        watched: TrainingRows,
    ) -> None:
        """Declare the rows.

        Args:
            rows: Frame with position, label, part and features of the rows.
            names: Names of the features.
            rate: Share of churned accounts, the base score of all boosters, which must be equal to average them.
            training: Parameters of XGBoost and of early stopping.
            watched: Sample of the rows, with the counts of the categories of all.
        """
        self._watched = watched
        self._rows, self._names, self._rate, self._training = rows, list(names), rate, training
        self._kept: DataFrame | None = None
        self._workers = 0
        # Rows of a batch that XGBoost receives.
        self._batch_rows = 0

    def grow(self, fold: int) -> Grown:
        """Grow the booster of a fold on the others, with early stopping on the fold.

        If a worker is lost, the booster is grown anew with the remaining ones: all workers share the histograms of each
        split.

        Raises:
            ChurnError: If it failed `ATTEMPTS` times, or the cluster has too few cores.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._fit(fold)
            except Exception as error:
                reason = reason_of(error)
                if reason is None:
                    raise
                if TOO_FEW_CORES in reason:
                    raise ChurnError(
                        f"training on Spark needs {self._workers} cores at once, but fewer are free: add cores to the cluster, "
                        f"or set {WORKERS} in conf/spark/spark.yml; Spark says: {reason}"
                    ) from error
                if attempt == ATTEMPTS:
                    raise ChurnError(
                        f"training on Spark failed {ATTEMPTS} times with {self._workers} workers for fold {fold + 1}; Spark "
                        f"says: {reason}. Check the cluster: lost workers, memory outside the executors, free cores"
                    ) from error
                logger.warning("Fold %s failed on Spark and is grown again; Spark says: %s", fold + 1, reason)
        raise AssertionError("unreachable")

    def release(self) -> None:
        """Release the persisted rows."""
        if self._kept is not None:
            self._kept.unpersist()
            self._kept = None

    def _fit(self, fold: int) -> Grown:
        from xgboost.spark import SparkXGBClassifier

        # XGBoost logs each fit at length.
        logging.getLogger("XGBoost-PySpark").setLevel(logging.WARNING)
        rows = self._spread()
        estimator = SparkXGBClassifier(
            features_col=self._names,
            label_col=LABEL,
            validation_indicator_col=WATCHED,
            num_workers=self._workers,
            n_estimators=self._training.booster.n_estimators,
            early_stopping_rounds=self._training.early_stopping_rounds,
            base_score=self._rate,
            # A tracker on the driver would outlive a lost worker and wait for it.
            launch_tracker_on_driver=False,
            **self._parameters(fold),
        )
        with _setting(rows, BATCH_ROWS, self._batch_rows):
            model = estimator.fit(self._of_fold(rows, fold))
        booster = model.get_booster()
        booster.feature_names = booster.feature_types = None
        return Grown(booster, model.training_summary.validation_objective_history["logloss"])

    def _of_fold(self, rows: DataFrame, fold: int) -> DataFrame:
        """Return the rows as the model of a fold knows them, with rates in place of codes, and which of them it watches."""
        watched, counts = self._watched.parts_of_fold(fold), self._watched.counts
        columns = {WATCHED: F.col(PART).isin(list(watched))}
        for position, of_parts in counts.rows.items():
            rates = np.stack([counts.log_odds(position, {*watched, part}) for part in range(len(of_parts))])
            columns[self._names[position]] = _looked_up(rates)(F.col(self._names[position]), F.col(PART))
        return rows.withColumns(columns)

    def _parameters(self, fold: int) -> dict[str, Any]:
        # The classifier sets the objective itself, and Spark the number of threads per task.
        left_out = ("objective", "nthread", "seed")
        parameters = {name: value for name, value in booster_parameters(self._training).items() if name not in left_out}
        return {**parameters, "random_state": self._training.random_state + fold}

    def _spread(self) -> DataFrame:
        """Return the rows in one partition per worker, each in the order of the table; persisted from fold to fold."""
        from xgboost.spark.utils import _get_max_num_concurrent_tasks

        session = self._rows.sparkSession
        configured = session.conf.get(WORKERS, "")
        workers = int(configured) if configured else max(1, _get_max_num_concurrent_tasks(session.sparkContext))
        if self._kept is None or workers != self._workers:
            self.release()
            self._workers = workers
            self._kept = self._rows.repartition(workers, column(ROW)).sortWithinPartitions(ROW).drop(ROW).persist()
            sizes = [row["count"] for row in self._kept.groupBy(F.spark_partition_id()).count().collect()]
            self._batch_rows = batch_rows(
                sizes, int(session.conf.get(BATCH_ROWS, "10000") or "10000"), self._training.folds
            )
        return self._kept


def _looked_up(rates: NDArray[np.float32]) -> Any:
    """Return the function of Spark from codes and parts to rates, given in an array of shape (parts, codes)."""

    def look_up(codes: pa.Array, parts: pa.Array) -> pa.Array:
        return pa.array(rates[parts.to_numpy(), codes.to_numpy().astype(np.int64)])

    return arrow_udf(look_up, "float")  # type: ignore[call-overload]  # the stubs know no default of its kind


def batch_rows(sizes: Sequence[int], most: int, folds: int) -> int:
    """Return the number of rows of a batch such that no batch of a partition is so small that it may lack a fold.

    XGBoost 3.2 fails if a batch has no row to watch or none to grow on.

    Args:
        sizes: Rows of each partition.
        most: Largest number of rows of a batch; 0 or less for no limit.
        folds: Number of folds.
    """
    fewest = ROWS_PER_FOLD * folds
    for rows in range(most, most // 2, -1):
        if all(size % rows == 0 or size % rows >= fewest for size in sizes):
            return rows
    return 0


@contextmanager
def _setting(frame: DataFrame, name: str, value: int) -> Iterator[None]:
    """Change a setting of Spark for a while."""
    conf = frame.sparkSession.conf
    before = conf.get(name, None)
    conf.set(name, str(value))
    try:
        yield
    finally:
        if before is None:
            conf.unset(name)
        else:
            conf.set(name, before)
