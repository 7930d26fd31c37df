"""Convert cells of an account table to canonical form, and to the text that messages show."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

MAX_EXAMPLE_LENGTH = 40


def as_numbers(series: pd.Series) -> tuple[pd.Series, NDArray[np.bool_]]:
    """Return a column as float64, and a mask of the values that are not numbers (they become nan)."""
    if pd.api.types.is_bool_dtype(series.dtype) or pd.api.types.is_numeric_dtype(series.dtype):
        numbers = series.astype("Float64").to_numpy(np.float64, na_value=np.nan) if series.hasnans else series
        return pd.Series(np.asarray(numbers, dtype=np.float64), index=series.index), np.zeros(len(series), bool)
    if pd.api.types.is_datetime64_any_dtype(series.dtype) or pd.api.types.is_timedelta64_dtype(series.dtype):
        return pd.Series(np.nan, index=series.index), series.notna().to_numpy(bool)
    text = as_text(series)
    values = pd.to_numeric(text, errors="coerce").astype("Float64").to_numpy(np.float64, na_value=np.nan)
    return pd.Series(values, index=series.index), text.notna().to_numpy(bool) & np.isnan(values)


def as_text(series: pd.Series) -> pd.Series:
    """Return a column as text; blank cells are missing, whole numbers have no decimals (``1``, not ``1.0``)."""
    if isinstance(series.dtype, pd.CategoricalDtype):
        series = series.astype(series.cat.categories.dtype)
    if pd.api.types.is_float_dtype(series.dtype) and not (series.dropna() % 1).any():
        series = series.astype("Int64")
    text = series.astype("str")
    blank = text.str.strip() == ""
    return text.mask(blank) if blank.any() else text


def quoted(value: object) -> str:
    """Return the text of a value for messages: text in quotes, long text cut, numbers short."""
    if isinstance(value, float):
        return f"{value:g}"
    text = str(value)
    return repr(text if len(text) <= MAX_EXAMPLE_LENGTH else text[:MAX_EXAMPLE_LENGTH] + "...")
