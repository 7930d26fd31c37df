"""Cells of an account table in canonical form, and as messages show them."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

MAX_EXAMPLE_LENGTH = 40


def as_numbers(series: pd.Series) -> tuple[pd.Series, NDArray[np.bool_]]:
    """A column as float64, and which of its values are not numbers (those become nan)."""
    if pd.api.types.is_bool_dtype(series.dtype) or pd.api.types.is_numeric_dtype(series.dtype):
        numbers = series.astype("Float64").to_numpy(np.float64, na_value=np.nan) if series.hasnans else series
        return pd.Series(np.asarray(numbers, dtype=np.float64), index=series.index), np.zeros(len(series), bool)
    if pd.api.types.is_datetime64_any_dtype(series.dtype) or pd.api.types.is_timedelta64_dtype(series.dtype):
        return pd.Series(np.nan, index=series.index), series.notna().to_numpy(bool)
    text = as_text(series)
    values = pd.to_numeric(text, errors="coerce").astype("Float64").to_numpy(np.float64, na_value=np.nan)
    return pd.Series(values, index=series.index), text.notna().to_numpy(bool) & np.isnan(values)


def as_text(series: pd.Series) -> pd.Series:
    """A column as text, missing where empty or blank; whole numbers are written without decimals (``1``, not ``1.0``)."""
    if isinstance(series.dtype, pd.CategoricalDtype):
        series = series.astype(series.cat.categories.dtype)
    if pd.api.types.is_float_dtype(series.dtype) and not (series.dropna() % 1).any():
        series = series.astype("Int64")
    text = series.astype("str")
    blank = text.str.strip() == ""
    return text.mask(blank) if blank.any() else text


def quoted(value: object) -> str:
    """A value as messages show it: short numbers, text in quotes and cut where it is long."""
    if isinstance(value, float):
        return f"{value:g}"
    text = str(value)
    return repr(text if len(text) <= MAX_EXAMPLE_LENGTH else text[:MAX_EXAMPLE_LENGTH] + "...")
