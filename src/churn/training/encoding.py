"""Fit the encoder on training rows: medians and vocabularies."""

from collections import Counter
from collections.abc import Iterable
from functools import singledispatch
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn.config import AccountSchema, FeatureEngineering
from churn.errors import AccountsError
from churn.model import Encoder
from churn.model.encoder import divide
from churn.tables import FrameTable, Table


@singledispatch
def fit_encoder(accounts: Any, schema: AccountSchema, settings: FeatureEngineering) -> Encoder:
    """Learn medians and vocabularies from training rows.

    Args:
        accounts: Canonical training rows only, as a frame or a `churn.tables.table.Table`; `churn.spark` registers the
            implementation for Spark frames.
        schema: Schema of the table.
        settings: Ratios, and the least number of rows of a category.

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
    vocabularies, incomplete = learn_vocabularies(accounts, schema.categorical, settings.min_category_count)
    encoder = Encoder(
        numeric=schema.numeric_names,
        ratios=settings.ratios,
        medians=medians,
        missing=frozenset(missing | incomplete),
        vocabularies=vocabularies,
    )
    return with_features(encoder, schema, settings)


def learn_vocabularies(
    accounts: Table, names: Iterable[str], fewest: int
) -> tuple[dict[str, tuple[str, ...]], frozenset[str]]:
    """Count the categories of training rows.

    Args:
        accounts: Canonical training rows.
        names: Categorical columns.
        fewest: Least number of rows of a category that becomes a feature.

    Returns:
        The sorted categories of each column, and the columns with missing values.
    """
    vocabularies: dict[str, tuple[str, ...]] = {}
    missing = set()
    for name in names:
        counts: Counter[str] = Counter()
        rows = 0
        for batch in accounts.batches([name]):
            counts.update({str(value): count for value, count in batch[name].value_counts().items()})
            rows += len(batch)
        vocabularies[name] = tuple(sorted(value for value, count in counts.items() if count >= fewest))
        if counts.total() < rows:
            missing.add(name)
    return vocabularies, frozenset(missing)


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
