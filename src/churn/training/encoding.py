"""Fit the encoder on training rows: medians and vocabularies."""

from collections import Counter
from functools import singledispatch
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn.config import AccountSchema, FeatureEngineering
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
    vocabularies = {}
    for name in schema.categorical:
        counts: Counter[str] = Counter()
        rows = 0
        for batch in accounts.batches([name]):
            counts.update({str(value): count for value, count in batch[name].value_counts().items()})
            rows += len(batch)
        vocabularies[name] = tuple(
            sorted(value for value, count in counts.items() if count >= settings.min_category_count)
        )
        if counts.total() < rows:
            missing.add(name)
    return Encoder(
        numeric=schema.numeric_names,
        ratios=settings.ratios,
        medians=medians,
        missing=frozenset(missing),
        vocabularies=vocabularies,
    )


def _median(values: NDArray[np.float64]) -> float:
    present = values[~np.isnan(values)]
    # A ratio can be undefined in every training row; any constant will do, as the feature for missing tells them apart.
    return float(np.median(present)) if len(present) else 0.0
