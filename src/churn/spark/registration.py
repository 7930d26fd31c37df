"""Register the implementations of the pipeline steps for Spark frames; importing this module imports pyspark."""

from churn.model.encoder import encode_rows
from churn.monitoring import scored_accounts
from churn.scoring import scoring_run
from churn.spark.checking import SparkAccounts
from churn.spark.features import encode_rows_on_spark, fit_encoder_on_spark
from churn.spark.frames import SparkPredictions, SparkTable
from churn.spark.monitoring import scored_accounts_on_spark
from churn.spark.rows import SparkRows
from churn.spark.scoring import SparkScoring
from churn.spark.training import fit_booster_on_spark
from churn.tables import checked_table
from churn.training.boosting import fit_booster_of
from churn.training.encoding import fit_encoder


def register() -> None:
    """Register the implementations; called by the data sets that load Spark frames. Idempotent."""
    checked_table.register(SparkTable, SparkAccounts)
    scoring_run.register(SparkAccounts, SparkScoring)
    scored_accounts.register(SparkPredictions, scored_accounts_on_spark)
    fit_encoder.register(SparkRows, fit_encoder_on_spark)
    encode_rows.register(SparkRows, encode_rows_on_spark)
    fit_booster_of.register(SparkRows, fit_booster_on_spark)
