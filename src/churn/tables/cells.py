"""Convert cells of an account table to canonical form, and to the text that messages show.

A cell means the same in every file, batch and type of column: it is converted by itself, whatever the other cells hold.
The canonical form of a number is a float64. That of an id, category or label is its text without surrounding blanks, in
which the values that writers of CSV files spell in different ways are spelled in one:

- true and false are ``true`` and ``false``, not ``True`` or ``TRUE``;
- a whole number has no decimals: ``1``, not ``1.0`` as pandas writes a column of whole numbers with missing values. Other
  decimals stay as they are: ``1.50`` and ``00123`` are texts like any other;
- numbers with an exponent, as ``1e-05``, are written out: ``0.00001``;
- a date at midnight is the date, ``2024-05-01``; other times are ``2024-05-01T10:00:00``, and those with a time zone are in
  UTC, ``2024-05-01T08:00:00Z``.

Ids, categories and labels that are texts in the source follow the same rules: a CSV file does not say which they are.
"""

from collections.abc import Callable, Collection
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from churn.config.schema import BLANK, MISSING_NUMBERS
from churn.tables.spelling import (
    NUMBER,
    OTHER_SPELLING,
    UNREADABLE,
    MissingNumbers,
    canonical,
    object_text,
    word_number,
)

MAX_EXAMPLE_LENGTH = 40

# With fewer different values than this share of the first rows, each value is converted once.
_SHARE_OF_DIFFERENT = 0.5
_FIRST_ROWS = 1000


def as_text(series: pd.Series, missing: Collection[str] = BLANK) -> pd.Series:
    """Return a column as canonical text, see `text_of`; values that are not a single value are missing."""
    return text_of(series, missing)[0]


def text_of(series: pd.Series, missing: Collection[str] = BLANK) -> tuple[pd.Series, NDArray[np.bool_]]:
    """Return a column as canonical text, and a mask of the cells that hold no single value: lists, records, bytes.

    Args:
        series: Cells of any type, shape (n,).
        missing: Texts that mean missing, in any case; blank cells always are.

    Returns:
        The text, missing where a cell is missing or not a single value, and the mask, both of shape (n,).
    """
    texts, wrong = _plain(series)
    markers = _markers(tuple(missing))
    spelled = _by_value(texts, lambda values: _marked(_respelled(pc.utf8_trim_whitespace(values)), markers))
    return pd.Series(spelled.to_pandas().array, index=series.index, name=series.name, dtype="str"), wrong


def as_written(series: pd.Series) -> tuple[pd.Series, NDArray[np.bool_]]:
    """Return a column as trimmed text in the spelling of the table, and the mask of `text_of`; blank cells are missing."""
    texts, wrong = _plain(series)
    trimmed = pc.utf8_trim_whitespace(texts)
    kept = pc.if_else(pc.equal(trimmed, ""), None, trimmed)
    return pd.Series(kept.to_pandas().array, index=series.index, name=series.name, dtype="str"), wrong


@lru_cache
def respelled(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Return the canonical spelling of texts, for example of categories that an earlier version stored."""
    return tuple(_respelled(pc.utf8_trim_whitespace(pa.array(texts, pa.large_string()))).to_pylist())


def as_numbers(series: pd.Series, missing: Collection[str] = MISSING_NUMBERS) -> tuple[pd.Series, NDArray[np.bool_]]:
    """Return a column as float64, and a mask of the cells that are not numbers (they become nan).

    Args:
        series: Cells of any type, shape (n,). Texts are numbers with a decimal point, perhaps with an exponent, and true
            and false, which are 1 and 0.
        missing: Texts and numbers that mean missing, in any case; blank cells and not-a-number always are.

    Returns:
        The numbers, nan where a cell is missing or not a number, perhaps infinite, and the mask, both of shape (n,).
    """
    values = _numbers_of_type(series)
    wrong = np.zeros(len(series), bool)
    if values is None:
        texts, unreadable = _plain(series)
        values, wrong = _parsed(pc.utf8_trim_whitespace(texts), _words(missing))
        wrong |= unreadable
    markers = _numeric(tuple(missing))
    if markers:
        values = np.where(np.isin(values, markers), np.nan, values)
    return pd.Series(values, index=series.index, name=series.name), wrong


def as_frame(table: "pa.Table | pa.RecordBatch") -> pd.DataFrame:
    """Convert rows to pandas without loss: whole numbers and truth values with missing ones keep their type.

    Dates, times of day and decimals, for which pandas has no type, are text, and numbers are float64 rather than float32.
    Columns that pandas had stored as an index are columns.
    """
    table = pa.Table.from_batches([table]) if isinstance(table, pa.RecordBatch) else table
    for position, field in enumerate(table.schema):
        column, kind = table.column(position), field.type
        if isinstance(kind, pa.UuidType):
            converted = pa.array([None if value is None else str(value) for value in column.to_pylist()], pa.string())
        elif pa.types.is_date(kind) or pa.types.is_time(kind) or pa.types.is_decimal(kind):
            converted = column.cast(pa.string())
        elif kind == pa.float32():
            # The decimal that it is written as, so that files with float32 and float64 can be joined.
            converted = column.cast(pa.string()).cast(pa.float64())
        else:
            continue
        table = table.set_column(position, field.name, converted)
    incomplete = {column.type for column in table.columns if column.null_count}
    frame: pd.DataFrame = table.to_pandas(
        ignore_metadata=True, types_mapper=lambda kind: _NULLABLE.get(kind) if kind in incomplete else None
    )
    return frame


class RowNumbers(NamedTuple):
    """A column of evenly spaced whole numbers that pandas stored as an index: only its description is in the file."""

    name: str
    start: int
    step: int

    @classmethod
    def of(cls, schema: pa.Schema) -> "RowNumbers | None":
        """Return that of a Parquet file, if it has a name that no column has."""
        for index in (schema.pandas_metadata or {}).get("index_columns", ()):
            if (
                isinstance(index, dict)
                and index.get("kind") == "range"
                and index.get("name") not in (None, *schema.names)
            ):
                return cls(str(index["name"]), int(index["start"]), int(index["step"]))
        return None

    def added(self, rows: "pa.Table | pa.RecordBatch", before: int) -> "pa.Table | pa.RecordBatch":
        """Return rows with this column, given the number of rows before them in the file."""
        numbers = self.start + self.step * (before + np.arange(len(rows), dtype=np.int64))
        return rows.append_column(self.name, pa.array(numbers))


def quoted(value: object) -> str:
    """Return the text of a value for messages: text in quotes, long text cut, numbers short."""
    if isinstance(value, float):
        return f"{value:g}"
    text = str(value)
    return repr(text if len(text) <= MAX_EXAMPLE_LENGTH else text[:MAX_EXAMPLE_LENGTH] + "...")


_NULLABLE: dict[pa.DataType, Any] = {
    pa.bool_(): pd.BooleanDtype(),
    pa.int8(): pd.Int8Dtype(),
    pa.int16(): pd.Int16Dtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.uint8(): pd.UInt8Dtype(),
    pa.uint16(): pd.UInt16Dtype(),
    pa.uint32(): pd.UInt32Dtype(),
    pa.uint64(): pd.UInt64Dtype(),
}


def _plain(series: pd.Series) -> tuple[pa.Array, NDArray[np.bool_]]:
    """Return the cells as texts, spelled by their type, and a mask of those that are not a single value."""
    dtype = series.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        codes = series.cat.codes.to_numpy().astype(np.int64)
        values, wrong = _plain(pd.Series(dtype.categories))
        return values.take(pa.array(codes, mask=codes < 0)), np.append(wrong, False)[codes]
    if dtype == np.float16:  # Arrow would write all digits of the float32 of the same value
        return _of_objects(np.fromiter(series.to_numpy(), object, len(series)))
    has_own_text = isinstance(dtype, _PANDAS_ONLY) or (isinstance(dtype, np.dtype) and dtype.kind in "Oc")
    known = None if has_own_text else _typed(pa.array(series, from_pandas=True))
    return known or _of_objects(series.astype(object).to_numpy())


# Types of pandas that Arrow does not know: their text is that of pandas.
_PANDAS_ONLY = (pd.PeriodDtype, pd.IntervalDtype, pd.SparseDtype)


def _typed(cells: "pa.Array | pa.ChunkedArray") -> tuple[pa.Array, NDArray[np.bool_]] | None:
    """Return texts of Arrow's cells and no fault; None for types without a text of their own."""
    array = cells.combine_chunks() if isinstance(cells, pa.ChunkedArray) else cells
    if isinstance(array, pa.ExtensionArray) and not isinstance(array.type, pa.UuidType):
        array = array.storage
    kind = array.type
    if pa.types.is_dictionary(kind):
        return _typed(array.dictionary_decode())
    if pa.types.is_floating(kind):
        array = pc.if_else(pc.is_nan(array), None, array)
    elif pa.types.is_timestamp(kind) and kind.tz is not None:
        array = array.cast(pa.timestamp(kind.unit, "UTC"))
    elif not _has_text(kind):
        return None
    return array.cast(pa.large_string()), np.zeros(len(array), bool)


def _has_text(kind: pa.DataType) -> bool:
    types = pa.types
    tests: tuple[Callable[[pa.DataType], bool], ...] = (
        types.is_string,
        types.is_large_string,
        types.is_string_view,
        types.is_boolean,
        types.is_integer,
        types.is_decimal,
        types.is_date,
        types.is_time,
        types.is_timestamp,
        types.is_null,
    )
    return any(test(kind) for test in tests)


def _of_objects(values: NDArray[np.object_]) -> tuple[pa.Array, NDArray[np.bool_]]:
    texts = [object_text(value) for value in values]
    wrong = np.fromiter((text is UNREADABLE for text in texts), bool, len(texts))
    return pa.array([None if text is UNREADABLE else text for text in texts], pa.large_string()), wrong


def _by_value(texts: pa.Array, convert: Callable[[pa.Array], pa.Array]) -> pa.Array:
    """Convert texts, each different one once if there are few."""
    first = texts.slice(0, _FIRST_ROWS)
    if len(texts) <= _FIRST_ROWS or pc.count_distinct(first).as_py() > _SHARE_OF_DIFFERENT * len(first):
        return convert(texts)
    coded = texts.dictionary_encode()
    return convert(coded.dictionary).take(coded.indices)


def _respelled(texts: pa.Array) -> pa.Array:
    """Return trimmed texts in their canonical spelling."""
    other = pc.match_substring_regex(texts, OTHER_SPELLING)
    if not pc.any(other).as_py():
        return texts
    found = texts.filter(other)
    values = pc.unique(found)
    spelled = pa.array([canonical(text) for text in values.to_pylist()], pa.large_string())
    return pc.replace_with_mask(texts, pc.fill_null(other, False), spelled.take(pc.index_in(found, values)))


def text_markers(missing: Collection[str]) -> frozenset[str]:
    """Return the markers of missing texts for `churn.tables.spelling.text_cell`."""
    return frozenset(_markers(tuple(missing)))


def number_markers(missing: Collection[str]) -> MissingNumbers:
    """Return the markers of missing numbers for `churn.tables.spelling.number_cell`."""
    return MissingNumbers(_words(missing), tuple(_numeric(tuple(missing))))


def _words(missing: Collection[str]) -> frozenset[str]:
    return frozenset(text.strip().lower() for text in missing)


@lru_cache
def _markers(missing: tuple[str, ...]) -> tuple[str, ...]:
    """Return the canonical texts that mean missing, in lower case and without the blank."""
    texts = _respelled(pa.array([text.strip() for text in missing], pa.large_string())).to_pylist()
    return tuple(sorted({text.lower() for text in texts} - {""}))


def _marked(texts: pa.Array, markers: tuple[str, ...]) -> pa.Array:
    """Return canonical texts without those that mean missing."""
    found = pc.equal(texts, "")
    if markers:
        found = pc.or_(found, pc.is_in(pc.utf8_lower(texts), pa.array(markers, pa.large_string())))
    return pc.if_else(found, None, texts) if pc.any(found).as_py() else texts


def _numbers_of_type(series: pd.Series) -> NDArray[np.float64] | None:
    """Return the numbers of a column whose type is numeric; None for other types."""
    dtype, types = series.dtype, pd.api.types
    if isinstance(dtype, pd.CategoricalDtype | pd.SparseDtype):
        return None
    # A float32 means the decimal that it is written as, 0.1, and not the nearest float64.
    is_double = str(dtype) in ("float64", "Float64", "double[pyarrow]")
    if types.is_bool_dtype(dtype) or types.is_integer_dtype(dtype) or is_double:
        return np.asarray(series.to_numpy(np.float64, na_value=np.nan), dtype=np.float64)
    return None


def _parsed(texts: pa.Array, missing: frozenset[str]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the numbers of trimmed texts, and a mask of the texts that are none."""
    is_number = pc.match_substring_regex(texts, NUMBER)
    numbers = pc.if_else(is_number, texts, None).cast(pa.float64())
    values = np.array(numbers.to_numpy(zero_copy_only=False), dtype=np.float64)
    others = np.flatnonzero(pc.fill_null(pc.invert(is_number), False).to_numpy(zero_copy_only=False))
    wrong = np.zeros(len(texts), bool)
    if len(others):
        codes, words = pd.factorize(texts.take(pa.array(others)).to_pandas())
        meant = [word_number(str(word).lower(), missing) for word in words]
        values[others] = np.array([np.nan if value is None else value for value in meant])[codes]
        wrong[others] = np.array([value is None for value in meant])[codes]
    return values, wrong


@lru_cache
def _numeric(missing: tuple[str, ...]) -> list[float]:
    """Return the finite numbers among the texts that mean missing."""
    values, _ = _parsed(pa.array([text.strip() for text in missing], pa.large_string()), frozenset())
    return [float(value) for value in values if np.isfinite(value)]
