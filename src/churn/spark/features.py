"""The encoder fitted and applied on Spark."""

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

# Spark says about where a value stands among the others, within one in so many.
ACCURACY = 10_000
# How far from the middle the values lie between which a median is looked for, as shares of all; a wider one is a wider net.
NETS = (2 / ACCURACY, 0.01, 0.5)


def fit_encoder_on_spark(accounts: SparkRows, schema: AccountSchema, settings: FeatureEngineering) -> Encoder:
    """Medians and vocabularies of rows on Spark, equal to the last bit to those of `churn.training.encoding.fit_encoder`."""
    numbers: dict[str, Column] = {name: column(name) for name in schema.numeric_names}
    for ratio in settings.ratios:
        numbers[ratio.name] = F.try_divide(column(ratio.numerator), column(ratio.denominator))
    with explained("training accounts"):
        present, medians = exact_medians(accounts.data, numbers)
        vocabularies, incomplete = _vocabularies(accounts.data, schema.categorical, settings.min_category_count)
    rows = len(accounts)
    return Encoder(
        numeric=schema.numeric_names,
        ratios=settings.ratios,
        medians=medians,
        missing=frozenset({*(name for name, count in present.items() if count < rows), *incomplete}),
        vocabularies=vocabularies,
    )


def exact_medians(frame: DataFrame, numbers: Mapping[str, Column]) -> tuple[dict[str, int], dict[str, float]]:
    """Medians to the last bit, in two looks at the table and little memory.

    The first look finds, for each column, two values between which the middle lies. The second counts the rows below and
    at these two, and collects the few in between: Spark's own exact percentile would hold every different value.

    Args:
        frame: The rows.
        numbers: What to look at, by name.

    Returns:
        How many rows have a value, and the median; 0 where there is none.
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
    """The value at a place, from 0, in ascending runs of equal ones."""
    if place < 0:
        return None
    for value, count in runs:
        if place < count:
            return value
        place -= count
    return None


def _vocabularies(
    frame: DataFrame, names: Iterable[str], fewest: int
) -> tuple[dict[str, tuple[str, ...]], frozenset[str]]:
    """Sorted categories of each column that enough rows have, and columns where some row has none."""
    cells = [F.struct(F.lit(name).alias("column"), column(name).alias("value")) for name in names]
    vocabularies: dict[str, list[str]] = {name: [] for name in names}
    incomplete = set()
    if cells:
        pairs = frame.select(F.explode(F.array(*cells)).alias("cell"))
        counted = pairs.groupBy("cell.column", "cell.value").count()
        for name, value, _ in counted.where((F.col("count") >= fewest) | F.col("value").isNull()).collect():
            if value is None:
                incomplete.add(name)
            else:
                vocabularies[name].append(value)
    return {name: tuple(sorted(values)) for name, values in vocabularies.items()}, frozenset(incomplete)


def _named(columns: Iterable[Column]) -> list[Column]:
    """Names without dots and the like for what is aggregated."""
    return [each.alias(f"c{position}") for position, each in enumerate(columns)]


def encode_rows_on_spark(table: SparkRows, encoder: Encoder, kept: list[str]) -> SparkRows:
    """Rows on Spark, encoded as by `churn.model.encoder.encode_rows`."""
    before = [ROW, *kept]
    features = [StructField(name, FloatType()) for name in encoder.feature_names]
    row_schema = StructType([*(table.data.schema[name] for name in before), *features])
    read = list(dict.fromkeys([*before, *encoder.columns]))
    run = encoded_rows(encoder, before, arrow_schema(row_schema))
    return SparkRows(table.data.select(*map(column, read)).mapInArrow(run, row_schema), source=table)


def encoded_rows(encoder: Encoder, kept: list[str], row_schema: pa.Schema) -> Any:
    """What Spark is to do to encode rows: kept columns, then one float32 column a feature."""
    names = encoder.feature_names

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            matrix = encoder.transform(batch.to_pandas())
            columns: dict[str, Any] = {name: batch.column(name) for name in kept}
            columns |= {name: matrix[:, position] for position, name in enumerate(names)}
            yield as_batch(columns, row_schema, len(batch))

    return run
