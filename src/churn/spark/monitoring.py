"""Join published scores with outcomes on Spark, and collect arrays on the driver."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from pydantic import TypeAdapter
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812, as everybody calls it
from pyspark.sql.types import ByteType, LongType, StringType, StructField, StructType

from churn.config import AccountSchema
from churn.errors import ChurnError
from churn.monitoring import ScoredAccounts, scored_accounts
from churn.spark.checking import NOTE, Work, first_number, mapped, note_row, notes_of, partition_here, repetitions
from churn.spark.frames import SparkPredictions, SparkTable
from churn.spark.rows import PACKED, ROW, arrow_schema, as_batch, column, packed, unpacked_rows
from churn.spark.session import explained
from churn.tables import Batches, Table
from churn.tables.cells import as_frame
from churn.tables.labels import OUTCOMES, UNKNOWN, OutcomeRows, check_outcome_columns

OUTCOME = "(outcome)"


@dataclass
class OutcomeNote:
    """Findings in a partition of outcomes.

    Attributes:
        partition: Number of the partition.
        found: Result of checking its rows.
    """

    partition: int
    found: OutcomeRows = field(default_factory=OutcomeRows)


NOTES = TypeAdapter(OutcomeNote)


def scored_accounts_on_spark(
    predictions: SparkPredictions, outcomes: Batches | None, schema: AccountSchema, bands: Sequence[str]
) -> ScoredAccounts:
    """Join scored accounts with their outcomes on Spark, see `churn.monitoring.outcomes.scored_accounts`."""
    if outcomes is None:
        return _gathered(predictions, None, 0, bands)
    if not isinstance(outcomes, SparkTable):
        # The outcomes are not on Spark: join on the driver.
        return scored_accounts.dispatch(Table)(predictions, outcomes, schema, bands)
    with explained(OUTCOMES, outcomes.examine):
        check_outcome_columns(outcomes.columns, schema)
        # Persisted, as they are read more than once.
        looked_at = _looked_at(outcomes, schema).persist()
    try:
        with explained(OUTCOMES, outcomes.examine):
            rows = _checked(looked_at, schema)
        known = looked_at.where(column(NOTE).isNull()).select(
            column(schema.id).alias("account"), column(OUTCOME).alias("outcome")
        )
        return _gathered(predictions, known, rows, bands)
    finally:
        looked_at.unpersist()


def _looked_at(outcomes: SparkTable, schema: AccountSchema) -> DataFrame:
    """Return ids and outcomes with the numbers of their rows, and a note at the end of each partition."""
    row_schema = StructType(
        [
            StructField(ROW, LongType()),
            StructField(schema.id, StringType()),
            StructField(OUTCOME, ByteType()),
            StructField(NOTE, StringType()),
        ]
    )
    return mapped(
        outcomes, (schema.id, schema.label.column), outcomes_of_partition(schema, arrow_schema(row_schema)), row_schema
    )


def outcomes_of_partition(schema: AccountSchema, row_schema: pa.Schema) -> Work:
    """Return the function that checks a partition of outcomes."""

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        note = OutcomeNote(partition_here())
        for batch in batches:
            first = first_number(note.partition, note.found.rows)
            ids, outcome = note.found.check_batch(as_frame(batch), schema)
            columns = {ROW: first + np.arange(len(ids)), schema.id: ids.to_numpy(), OUTCOME: outcome}
            yield as_batch(columns, row_schema, len(ids))
        yield note_row(note, NOTES, row_schema)

    return run


def _checked(looked_at: DataFrame, schema: AccountSchema) -> int:
    """Check the notes and return the number of outcomes; raises an error if they have faults."""
    found, starts = OutcomeRows(), {}
    for note in notes_of(looked_at, NOTES):
        starts[note.partition] = found.rows
        found.extend(note.found)
    found.raise_faults(repetitions(looked_at, schema.id, starts), schema)
    return found.rows


def _gathered(
    predictions: SparkPredictions, known: DataFrame | None, outcomes: int, bands: Sequence[str]
) -> ScoredAccounts:
    """Collect scores and outcomes in the order of the file, so that sums are rounded as without Spark."""
    words = F.coalesce(column("risk_band").cast("string"), F.lit("nan"))
    band = F.lit(-1)
    for position, name in enumerate(bands):
        band = F.when(words == name, position).otherwise(band)
    versioned = "model_version" in predictions.columns
    with explained("predictions"):
        scores = predictions.rows().select(
            F.col("_metadata.row_index").alias("row"),
            column(predictions.columns[0]).cast("string").alias("account"),
            column("probability").alias("probability"),
            (column("prediction") == 1).alias("flagged"),
            band.cast("smallint").alias("band"),
            words.alias("word"),
            (column("model_version").cast("string") if versioned else F.lit(None)).alias("version"),
        )
        (counted,) = scores.agg(
            F.count_distinct("account").alias("unique"),
            F.collect_set("version").alias("versions"),
            F.collect_set(F.when(F.col("band") < 0, F.col("word"))).alias("unknown"),
        ).collect()
        joined = scores.drop("word", "version")
        if known is None:
            joined = joined.withColumn("outcome", F.lit(UNKNOWN).cast("byte"))
        else:
            joined = joined.join(known, "account", "left").fillna(UNKNOWN, ["outcome"])
        rows = len(predictions)
        probability, flagged, codes = np.empty(rows), np.empty(rows, np.bool_), np.empty(rows, np.int16)
        truth = np.empty(rows, np.int8)
        given = 0
        # A join changes the order of rows: put each one at its position.
        for part in joined.drop("account").mapInArrow(packed, PACKED).toLocalIterator(prefetchPartitions=True):
            table = unpacked_rows(part)
            at = table["row"].to_numpy()
            if len(at) and int(at.max()) >= rows:
                break
            probability[at] = table["probability"].to_pandas().to_numpy(dtype=np.float64, na_value=np.nan)
            flagged[at] = table["flagged"].to_numpy()
            codes[at] = table["band"].to_numpy()
            truth[at] = table["outcome"].to_numpy()
            given += len(at)
    if given != rows:
        raise ChurnError(
            f"{predictions.uri}: {rows} rows were expected, but {given} were read; the file may have changed, run again"
        )
    return ScoredAccounts(
        probability,
        flagged,
        codes,
        sorted(counted["unknown"]),
        unique=counted["unique"],
        versions=sorted(counted["versions"]),
        truth=None if known is None else truth,
        outcomes=outcomes,
    )
