"""Fit the encoder on training rows: medians and categories."""

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
from churn.model.encoder import divide
from churn.tables import FrameTable, Table

# Rows of a category that gets a rate.
RATED_ROWS = 2
# A column with more categories than the first number can be a rate; with more than the second, it is never 0/1 features.
FEW, MANY = 10, 255


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
