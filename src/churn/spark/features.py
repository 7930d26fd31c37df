"""Fit and apply the encoder on Spark."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F  # noqa: N812, as everybody calls it
from pyspark.sql.types import FloatType, StructField, StructType

from churn.config import AccountSchema, FeatureEngineering
from churn.model import Encoder
from churn.spark.rows import ROW, SparkRows, arrow_schema, as_batch, column
from churn.spark.session import explained
from churn.training.encoding import Categories, learn_differences, rows_needed, with_features

# Accuracy of Spark's approximate percentiles: the relative error of a rank is at most 1 / ACCURACY.
ACCURACY = 10_000
# Distances of two percentiles from the median, as shares of the rows, between which it is searched; tried in turn.
NETS = (2 / ACCURACY, 0.01, 0.5)


def fit_encoder_on_spark(accounts: SparkRows, schema: AccountSchema, settings: FeatureEngineering) -> Encoder:
    """Learn medians and categories on Spark, bit for bit those of `churn.training.encoding.fit_encoder`."""
    numbers: dict[str, Column] = {name: column(name) for name in schema.numeric_names}
    for ratio in settings.ratios:
        numbers[ratio.name] = F.try_divide(column(ratio.numerator), column(ratio.denominator))
    with explained("training accounts"):
        present, medians = exact_medians(accounts.data, numbers)
        categories = _categories(accounts.data, schema.categorical, settings)
    rows = len(accounts)
    encoder = Encoder(
        numeric=schema.numeric_names,
        ratios=settings.ratios,
        medians=medians,
        missing=frozenset({*(name for name, count in present.items() if count < rows), *categories.incomplete}),
        vocabularies=categories.vocabularies,
        rated=categories.rated,
        differences=learn_differences(accounts, schema, medians, settings),
    )
    return with_features(encoder, schema, settings)


def exact_medians(frame: DataFrame, numbers: Mapping[str, Column]) -> tuple[dict[str, int], dict[str, float]]:
    """Compute exact medians in two passes over the table and little memory.

    The first pass finds, for each column, two values around the median. The second counts the rows below and at these two
    and collects the few in between: Spark's own exact percentile would keep every different value in memory.

    Args:
        frame: The rows.
        numbers: Numeric columns or expressions, by name.

    Returns:
        For each name the number of rows with a value, and the median; 0 without any value.
    """
    medians = dict.fromkeys(numbers, 0.0)
    counts = frame.agg(*_named(F.count(value) for value in numbers.values())).collect()[0]
    present = dict(zip(numbers, counts, strict=True))
    open_ones = [name for name, count in present.items() if count]
    for net in NETS:
        if not open_ones:
            break
        wanted = [max(0.0, 0.5 - net), min(1.0, 0.5 + net)]
        looks = (F.percentile_approx(numbers[name], wanted, ACCURACY) for name in open_ones)
        between = dict(zip(open_ones, frame.agg(*_named(looks)).collect()[0], strict=True))
        parts: list[Column] = []
        for name in open_ones:
            value, (low, high) = numbers[name], between[name]
            inside = (value > low) & (value < high)
            parts += [F.count_if(value < low), F.count_if(value == low), F.count_if(value == high)]
            parts.append(F.collect_list(F.when(inside, value)))
        found = frame.agg(*_named(parts)).collect()[0]
        for position, name in enumerate(list(open_ones)):
            below, at_low, at_high, inside = found[4 * position : 4 * position + 4]
            low, high = between[name]
            runs = [
                (low, at_low),
                *((value, 1) for value in sorted(inside)),
                *([(high, at_high)] if high > low else []),
            ]
            lower, upper = (_at(runs, place - below) for place in ((present[name] - 1) // 2, present[name] // 2))
            if lower is not None and upper is not None:
                medians[name] = (lower + upper) / 2
                open_ones.remove(name)
    return present, medians


def _at(runs: Iterable[tuple[float, int]], place: int) -> float | None:
    """Return the value at a position, from 0, in ascending runs of equal values."""
    if place < 0:
        return None
    for value, count in runs:
        if place < count:
            return value
        place -= count
    return None


def _categories(frame: DataFrame, names: Iterable[str], settings: FeatureEngineering) -> Categories:
    """Count the categories of columns, and choose those that become features."""
    cells = [F.struct(F.lit(name).alias("column"), column(name).alias("value")) for name in names]
    counts: dict[str, dict[str, int]] = {name: {} for name in names}
    incomplete = set()
    if cells:
        pairs = frame.select(F.explode(F.array(*cells)).alias("cell"))
        counted = pairs.groupBy("cell.column", "cell.value").count()
        for name, value, count in counted.where(
            (F.col("count") >= rows_needed(settings)) | F.col("value").isNull()
        ).collect():
            if value is None:
                incomplete.add(name)
            else:
                counts[name][value] = count
    return Categories.of(counts, incomplete, settings)


def _named(columns: Iterable[Column]) -> list[Column]:
    """Give aggregates names without special characters."""
    return [each.alias(f"c{position}") for position, each in enumerate(columns)]


def encode_rows_on_spark(table: SparkRows, encoder: Encoder, kept: list[str]) -> SparkRows:
    """Encode rows on Spark, see `churn.model.encoder.encode_rows`."""
    before = [ROW, *kept]
    features = [StructField(name, FloatType()) for name in encoder.feature_names]
    row_schema = StructType([*(table.data.schema[name] for name in before), *features])
    read = list(dict.fromkeys([*before, *encoder.columns]))
    run = encoded_rows(encoder, before, arrow_schema(row_schema))
    return SparkRows(table.data.select(*map(column, read)).mapInArrow(run, row_schema), source=table)


def encoded_rows(encoder: Encoder, kept: list[str], row_schema: pa.Schema) -> Any:
    """Return the function that encodes a partition: the kept columns, then one float32 column per feature."""
    names = encoder.feature_names

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            matrix = encoder.transform(batch.to_pandas())
            columns: dict[str, Any] = {name: batch.column(name) for name in kept}
            columns |= {name: matrix[:, position] for position, name in enumerate(names)}
            yield as_batch(columns, row_schema, len(batch))

    return run
