"""Fit the encoder on training rows: medians and categories."""

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import singledispatch
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn.config import AccountSchema, FeatureEngineering
from churn.errors import AccountsError
from churn.model import Encoder
from churn.model.encoder import Difference, divide
from churn.tables import FrameTable, Table

# Rows of a category that gets a rate.
RATED_ROWS = 2
# A column with more categories than the first number can be a rate; with more than the second, it is never 0/1 features.
FEW, MANY = 10, 255
# Rows to look for columns that go together, the absolute correlations with which they do (beyond, one is a multiple of the
# other), and how many differences are tried.
DIFFERENCE_ROWS = 10_000
CLOSE = (0.85, 0.9999)
MOST_DIFFERENCES = 5


@singledispatch
def fit_encoder(accounts: Any, schema: AccountSchema, settings: FeatureEngineering) -> Encoder:
    """Learn medians and categories from training rows.

    Args:
        accounts: Canonical training rows only, as a frame or a `churn.tables.table.Table`; `churn.spark` registers the
            implementation for Spark frames.
        schema: Schema of the table.
        settings: Ratios, the least number of rows of a category, and whether many categories become rates.

    Raises:
        AccountsError: If no column becomes a feature.
        TypeError: If the accounts are neither.
    """
    raise TypeError(f"accounts must be a DataFrame or a Table, not {type(accounts).__name__}")


@fit_encoder.register
def _(accounts: pd.DataFrame, schema: AccountSchema, settings: FeatureEngineering) -> Encoder:
    return fit_encoder(FrameTable(accounts), schema, settings)


@fit_encoder.register
def _(accounts: Table, schema: AccountSchema, settings: FeatureEngineering) -> Encoder:
    """Read one column at a time, which bounds the memory."""
    missing: set[str] = set()
    medians: dict[str, float] = {}

    def learn(name: str, values: NDArray[np.float64]) -> None:
        if np.isnan(values).any():
            missing.add(name)
        medians[name] = _median(values)

    for name in schema.numeric_names:
        learn(name, accounts.column(name).to_numpy(np.float64))
    for ratio in settings.ratios:
        both = accounts.frame(list(dict.fromkeys([ratio.numerator, ratio.denominator])))
        learn(
            ratio.name, divide(both[ratio.numerator].to_numpy(np.float64), both[ratio.denominator].to_numpy(np.float64))
        )
    categories = learn_categories(accounts, schema.categorical, settings)
    encoder = Encoder(
        numeric=schema.numeric_names,
        ratios=settings.ratios,
        medians=medians,
        missing=frozenset(missing | categories.incomplete),
        vocabularies=categories.vocabularies,
        rated=categories.rated,
        differences=learn_differences(accounts, schema, medians, settings),
    )
    return with_features(encoder, schema, settings)


class Categories(NamedTuple):
    """Categories of training rows.

    Attributes:
        vocabularies: For each categorical column the sorted categories that become 0/1 features.
        rated: For each column with many categories those that get a rate, sorted.
        incomplete: Columns with missing values.
    """

    vocabularies: dict[str, tuple[str, ...]]
    rated: dict[str, tuple[str, ...]]
    incomplete: frozenset[str]

    @classmethod
    def of(
        cls, counts: Mapping[str, Mapping[str, int]], incomplete: Iterable[str], settings: FeatureEngineering
    ) -> Self:
        """Choose categories by their number of rows, given by column; those with less than `rows_needed` may be left out."""
        vocabularies, rated = {}, {}
        for name, of_column in counts.items():
            listed = tuple(sorted(value for value, count in of_column.items() if count >= settings.min_category_count))
            several = tuple(sorted(value for value, count in of_column.items() if count >= RATED_ROWS))
            if settings.target_encoding == "auto" and len(several) > FEW:
                rated[name] = several
                listed = () if len(listed) > MANY else listed
            vocabularies[name] = listed
        return cls(vocabularies, rated, frozenset(incomplete))


def plain_features(settings: FeatureEngineering) -> FeatureEngineering:
    """Return the settings without features among which training chooses: rates and differences."""
    return settings.model_copy(update={"target_encoding": "off", "differences": "off"})


def rows_needed(settings: FeatureEngineering) -> int:
    """Return the least number of rows with which a category can count."""
    return min(RATED_ROWS, settings.min_category_count)


def learn_categories(accounts: Table, names: Iterable[str], settings: FeatureEngineering) -> Categories:
    """Count the categories of columns in canonical training rows, and choose those that become features."""
    counts: dict[str, Counter[str]] = {}
    missing = set()
    for name in names:
        counts[name] = Counter()
        rows = 0
        for batch in accounts.batches([name]):
            counts[name].update({str(value): count for value, count in batch[name].value_counts().items()})
            rows += len(batch)
        if counts[name].total() < rows:
            missing.add(name)
    return Categories.of(counts, missing, settings)


def learn_differences(
    accounts: Table, schema: AccountSchema, medians: Mapping[str, float], settings: FeatureEngineering
) -> tuple[Difference, ...]:
    """Find numeric columns that go together, the closest ones first, `MOST_DIFFERENCES` at most.

    Args:
        accounts: Canonical training rows, of which evenly spaced ones are read.
        schema: Schema of the table.
        medians: Medians of the numeric columns, in place of missing values.
        settings: Whether there are differences.
    """
    names = schema.numeric_names
    if settings.differences == "off" or len(names) < 2:
        return ()
    rows = accounts.frame(list(names), most_rows=DIFFERENCE_ROWS)
    values = {name: rows[name].fillna(medians[name]).to_numpy(np.float64) for name in names}
    # Of two columns of few different values, the trees find every pair of values by themselves.
    spread = {name: float(each.std()) for name, each in values.items() if len(np.unique(each)) > FEW}
    spread = {name: each for name, each in spread.items() if 0 < each < math.inf}
    if len(spread) < 2:
        return ()
    standardised = [values[name] / each for name, each in spread.items()]
    together = np.asarray(np.corrcoef(np.stack(standardised)))
    found = []
    for (place, first), (other, second) in itertools.combinations(enumerate(spread), 2):
        close = round(float(together[place, other]), 6)
        if CLOSE[0] <= abs(close) <= CLOSE[1]:
            factor = math.copysign(spread[first] / spread[second], close)
            found.append((-abs(close), Difference(first, second, factor)))
    return tuple(difference for _, difference in sorted(found)[:MOST_DIFFERENCES])


def with_features(encoder: Encoder, schema: AccountSchema, settings: FeatureEngineering) -> Encoder:
    """Return the encoder.

    Raises:
        AccountsError: If it has no feature, from which no model can be trained.
    """
    if not encoder.feature_names:
        raise AccountsError("training accounts", [no_feature_fault(schema, settings)])
    return encoder


def no_feature_fault(schema: AccountSchema, settings: FeatureEngineering) -> str:
    """Return a sentence that says why there is no feature, and what to do."""
    return (
        f"no column becomes a feature: accounts.numeric names no column, and no category of "
        f"{', '.join(schema.categorical)} has {settings.min_category_count:,} training rows "
        "(feature_engineering.min_category_count). Lower that number, merge rare categories, or name a numeric column"
    )


def _median(values: NDArray[np.float64]) -> float:
    present = values[~np.isnan(values)]
    # A ratio can be undefined in every training row; any constant will do, as the feature for missing tells them apart.
    return float(np.median(present)) if len(present) else 0.0
