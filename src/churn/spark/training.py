"""The booster grown on Spark: XGBoost's own estimator for each fold, on rows that the driver never holds."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
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

logger = logging.getLogger(__name__)

# Setting of spark.yml: how many tasks grow a booster together; by default as many as run at once.
WORKERS = "spark.churn.training.workers"
# How often a fold is begun when Spark loses what grows it.
ATTEMPTS = 3
# Part of what Spark says where it can never run all tasks of a booster at once.
TOO_FEW_CORES = "SPARK-24819"
LABEL, FOLD, WATCHED = "label", "fold", "watched"


def fit_booster_on_spark(
    features: SparkRows,
    names: Sequence[str],
    label: str,
    folds: NDArray[np.int8],
    watched: pd.DataFrame,
    training: Training,
) -> FittedTrees:
    """The booster of rows on Spark, see `churn.training.boosting.fit_booster_of`.

    Raises:
        ParametersError: If a parameter does not go with Spark.
        ChurnError: If the session is one of Spark Connect, or the cluster was lost too often.
    """
    check_trainable(features, training)
    # XGBoost takes no feature names with brackets, and needs none.
    plain = [f"f{position}" for position in range(len(names))]

    def fold_of(row: pa.Array) -> pa.Array:
        return pa.array(folds[row.to_numpy()])

    watching = arrow_udf(fold_of, "byte")  # type: ignore[call-overload]  # the stubs know no default of its kind
    rows = features.data.select(
        column(ROW),
        column(label).cast("double").alias(LABEL),
        watching(column(ROW)).alias(FOLD),
        *(column(name).alias(short) for name, short in zip(names, plain, strict=True)),
    )
    rate = float(rows.agg(F.avg(LABEL)).collect()[0][0])
    count = int(folds.max()) + 1
    growth = Growth(rows, plain, rate, training)
    try:
        grown = [growth.grow(fold) for fold in with_bar(range(count), "growing trees on Spark", count)]
    finally:
        growth.release()
    matrix = watched[list(names)].to_numpy(np.float32)
    return merge(grown, matrix, watched["fold"].to_numpy())


def check_trainable(features: SparkRows, training: Training) -> None:
    """Refuse what cannot be grown on Spark.

    Raises:
        ParametersError: If a parameter does not go with it.
        ChurnError: If the session is one of Spark Connect.
    """
    if training.booster.tree_method == "exact":
        raise ParametersError(
            "parameters", ["training.booster.tree_method = 'exact': one machine finds splits so; on Spark use 'hist'"]
        )
    if type(features.data).__module__.startswith("pyspark.sql.connect"):
        raise ChurnError(
            "XGBoost trains on Spark where Spark has a master, not through Spark Connect: give `master` in place of `remote` "
            "in conf/spark/spark.yml for the pipeline training"
        )


class Growth:
    """Grows the boosters of the folds on rows that Spark keeps, spread over the tasks that grow them."""

    def __init__(self, rows: DataFrame, names: Sequence[str], rate: float, training: Training) -> None:
        """Declare the rows.

        Args:
            rows: With their place, label, fold and features.
            names: Of the features.
            rate: Share of churned accounts, from which all boosters start: they can be averaged then.
            training: Parameters of XGBoost and of early stopping.
        """
        self._rows, self._names, self._rate, self._training = rows, list(names), rate, training
        self._kept: DataFrame | None = None
        self._workers = 0

    def grow(self, fold: int) -> Grown:
        """The booster that does not see a fold, but is watched by it.

        A worker that goes away takes the growth of the whole booster with it, as all add up the same histograms after each
        split. It begins again then, with those that are left.

        Raises:
            ChurnError: If it was lost too often.
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
                        f"training on Spark needs {self._workers} cores at once, and fewer are free: give the cluster more, or "
                        f"set {WORKERS} in conf/spark/spark.yml; Spark says: {reason}"
                    ) from error
                if attempt == ATTEMPTS:
                    raise ChurnError(
                        f"training on Spark failed {ATTEMPTS} times with {self._workers} workers for fold {fold + 1}; Spark "
                        f"says: {reason}. Look at the cluster: lost workers, memory beside the executors, free cores"
                    ) from error
                logger.warning("Fold %s was lost on Spark and begins again; Spark says: %s", fold + 1, reason)
        raise AssertionError("unreachable")

    def release(self) -> None:
        """Let Spark forget the rows."""
        if self._kept is not None:
            self._kept.unpersist()
            self._kept = None

    def _fit(self, fold: int) -> Grown:
        from xgboost.spark import SparkXGBClassifier

        # It tells each fit at length.
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
            # On the driver it would outlive a lost worker, and wait for it.
            launch_tracker_on_driver=False,
            **self._parameters(fold),
        )
        model = estimator.fit(rows.withColumn(WATCHED, F.col(FOLD) == fold))
        booster = model.get_booster()
        booster.feature_names = booster.feature_types = None
        return Grown(booster, model.training_summary.validation_objective_history["logloss"])

    def _parameters(self, fold: int) -> dict[str, Any]:
        # The objective is the classifier's own, and Spark says how many threads a task has.
        left_out = ("objective", "nthread", "seed")
        parameters = {name: value for name, value in booster_parameters(self._training).items() if name not in left_out}
        return {**parameters, "random_state": self._training.random_state + fold}

    def _spread(self) -> DataFrame:
        """The rows in as many partitions as there are workers, each in the order of the table; kept from fold to fold."""
        from xgboost.spark.utils import _get_max_num_concurrent_tasks

        session = self._rows.sparkSession
        configured = session.conf.get(WORKERS, "")
        workers = int(configured) if configured else max(1, _get_max_num_concurrent_tasks(session.sparkContext))
        if self._kept is None or workers != self._workers:
            self.release()
            self._workers = workers
            self._kept = self._rows.repartition(workers, column(ROW)).sortWithinPartitions(ROW).drop(ROW).persist()
        return self._kept
