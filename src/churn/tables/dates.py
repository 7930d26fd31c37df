"""Read dates, and count the time from them to the date of the snapshot.

Dates are written with the year first (``2024-05-01``, ``2024/5/1``, ``20240501``, ``2024-05``), with points and the day first
(``01.05.2024``), with the name of the month in English (``1 May 2024``, ``May 1, 2024``, ``01-May-24``), or with strokes. In
``03/04/2024`` the parameters say what comes first. A time of day after a date is not read.
"""

import re
from collections.abc import Collection
from datetime import date
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from churn.config.schema import AccountSchema, DateColumn
from churn.errors import AccountsError
from churn.tables.cells import text_markers, text_of
from churn.tables.faults import EMPTY, NOT_ONE_VALUE, Fault, sentences
from churn.tables.spelling import NotOneValue, text_cell

Order = Literal["day", "month"]
DAYS_OF_MONTH = 30.4375  # 365.25 / 12

NOT_A_DATE = "not a date"
TWO_DATES = "a date with two meanings, as day or month may come first"
TOO_LATE = "after the date of the snapshot"
DATE_ADVICE = {
    NOT_A_DATE: "; if that means missing, add it to accounts.missing",
    TWO_DATES: "; set order: day or order: month in accounts.dates",
    TOO_LATE: "; set accounts.as_of to the date of this table, or inference.as_of if it is to be scored; or set future: true in "
    "accounts.dates if such a date is no error",
    NOT_ONE_VALUE: "; take the column out of accounts.dates",
    EMPTY: "; accounts.as_of names this column, so each row needs a date",
}

_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "jan january",
            "feb february",
            "mar march",
            "apr april",
            "may",
            "jun june",
            "jul july",
            "aug august",
            "sep sept september",
            "oct october",
            "nov november",
            "dec december",
        ),
        1,
    )
    for name in names.split()
}
_TIME = r"(?:[T ,]+[0-9]{1,2}:[0-9]{2}(?s:.*))?"
_YEAR_FIRST = re.compile(rf"([0-9]{{4}})([-/.])([0-9]{{1,2}})\2([0-9]{{1,2}}){_TIME}")
_COMPACT = re.compile(rf"([12][0-9]{{3}})([0-9]{{2}})([0-9]{{2}}){_TIME}")
_MONTH_ONLY = re.compile(r"([0-9]{4})-([0-9]{2})")
_POINTS = re.compile(rf"([0-9]{{1,2}})\.\s?([0-9]{{1,2}})\.\s?([0-9]{{4}}|[0-9]{{2}}){_TIME}")
_STROKES = re.compile(rf"([0-9]{{1,2}})([-/])([0-9]{{1,2}})\2([0-9]{{4}}|[0-9]{{2}}){_TIME}")
_DAY_NAME = re.compile(rf"([0-9]{{1,2}})[-. ]+([A-Za-z]{{3,9}})\.?[-, ]+([0-9]{{4}}|[0-9]{{2}}){_TIME}")
_NAME_DAY = re.compile(rf"([A-Za-z]{{3,9}})\.? ([0-9]{{1,2}}),? ([0-9]{{4}}){_TIME}")


class Reading(NamedTuple):
    """What a text means as a date.

    Attributes:
        day: Number of the day, 1 for the first of January of the year 1; None if the text is no date, or has two meanings.
        fault: Why there is no day; empty if there is one.
    """

    day: int | None
    fault: str = ""


@lru_cache(maxsize=1 << 17)
def read_date(text: str, order: Order | None = None) -> Reading:
    """Return the day that a canonical text means, see `churn.tables.cells.text_of`.

    Args:
        text: The text.
        order: What comes first in a date with strokes; None if that is not known.
    """
    if found := _YEAR_FIRST.fullmatch(text):
        return _day(found[1], found[3], found[4])
    if found := _COMPACT.fullmatch(text):
        return _day(found[1], found[2], found[3])
    if found := _POINTS.fullmatch(text):
        return _day(found[3], found[2], found[1])
    if found := _STROKES.fullmatch(text):
        return _with_strokes(found[1], found[3], found[4], order)
    if found := _DAY_NAME.fullmatch(text):
        return _day(found[3], _month(found[2]), found[1])
    if found := _NAME_DAY.fullmatch(text):
        return _day(found[3], _month(found[1]), found[2])
    if found := _MONTH_ONLY.fullmatch(text):
        return _day(found[1], found[2], "1")
    return Reading(None, NOT_A_DATE)


def _with_strokes(first: str, second: str, year: str, order: Order | None) -> Reading:
    as_day, as_month = _day(year, second, first), _day(year, first, second)
    if order is not None:
        return as_day if order == "day" else as_month
    if as_day.day is not None and as_month.day is not None and as_day != as_month:
        return Reading(None, TWO_DATES)
    return as_day if as_day.day is not None else as_month


def _month(name: str) -> str:
    return str(_MONTHS.get(name.lower(), 0))


def _day(year: str, month: str, day: str) -> Reading:
    number = int(year)
    if len(year) == 2:  # as POSIX reads them
        number += 1900 if number > 68 else 2000
    try:
        return Reading(date(number, int(month), int(day)).toordinal())
    except ValueError:
        return Reading(None, NOT_A_DATE)


def time_since(days: Any, unit: Literal["months", "days"]) -> Any:
    """Return a number of days, or an array of them, in another unit; months have one decimal."""
    return days if unit == "days" else np.rint(days / DAYS_OF_MONTH * 10.0) / 10.0


def days_of(
    series: pd.Series, missing: Collection[str], order: Order | None
) -> tuple[NDArray[np.float64], pd.Series, dict[str, NDArray[np.bool_]]]:
    """Read a column of dates.

    Args:
        series: Cells of any type, shape (n,).
        missing: Texts that mean missing; blank cells always do.
        order: What comes first in a date with strokes.

    Returns:
        The number of the day of each cell, nan where there is none, the texts of the cells, and the masks of the cells that
        have a fault, by its reason; all of shape (n,).
    """
    texts, several = text_of(series, missing)
    array = pa.array(texts, type=pa.large_string(), from_pandas=True)
    # A column of times has few days: only the first ten characters count then.
    short = pc.match_substring_regex(array, r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}")
    array = pc.if_else(short, pc.utf8_slice_codeunits(array, 0, 10), array)
    coded = array.dictionary_encode()
    readings = [read_date(text, order) for text in coded.dictionary.to_pylist()]
    codes = coded.indices.fill_null(len(readings)).to_numpy(zero_copy_only=False)
    known = np.array([np.nan if each.day is None else each.day for each in readings] + [np.nan], dtype=np.float64)
    faults = {NOT_ONE_VALUE: several}
    for reason in (NOT_A_DATE, TWO_DATES):
        faults[reason] = np.array([*(each.fault == reason for each in readings), False])[codes]
    return known[codes], texts, faults


def since_dates(
    frame: pd.DataFrame, schema: AccountSchema, first_row: int = 1
) -> tuple[dict[str, pd.Series], list[Fault]]:
    """Return the time since each date of some rows, by the name of its feature, and the faults of the dates.

    Args:
        frame: Rows with the columns of the dates, and that of the snapshot if a column has it.
        schema: Schema of the table.
        first_row: Number of the first of these rows in the table.
    """
    found: list[Fault] = []
    ends = _ends(frame, schema, found, first_row)
    features = {}
    for item in schema.dates:
        days, texts, faults = days_of(frame[item.column], schema.missing, item.order)
        since = ends - days
        if not item.future:
            faults[TOO_LATE] = since < 0
        for reason, broken in faults.items():
            if broken.any():
                # Text in a column of dates may be a shifted row: an id must not reach the log.
                shown = None if reason == NOT_ONE_VALUE else texts.mask(texts.isin(_ids(frame, schema)))
                found.append(Fault.of(item.column, reason, broken, shown, first_row, DATE_ADVICE[reason]))
        features[item.feature] = pd.Series(time_since(since, item.unit), index=frame.index, name=item.feature)
    return features, found


def with_time_since(frame: pd.DataFrame, schema: AccountSchema) -> pd.DataFrame:
    """Return raw rows with the time since each date.

    Raises:
        AccountsError: Lists the columns that are missing, or every fault of the dates.
    """
    needed = [*(item.column for item in schema.dates), *([schema.as_of] if isinstance(schema.as_of, str) else [])]
    faults = [f"missing column: {name}" for name in needed if name not in frame.columns]
    if not faults:
        features, found = since_dates(frame, schema)
        faults = sentences(found, schema)
    if faults:
        raise AccountsError("accounts to encode", faults)
    return frame.assign(**features)


def _ids(frame: pd.DataFrame, schema: AccountSchema) -> pd.Series:
    return text_of(frame[schema.id])[0] if schema.id in frame.columns else pd.Series([], dtype="str")


def _ends(frame: pd.DataFrame, schema: AccountSchema, found: list[Fault], first_row: int) -> NDArray[np.float64]:
    """Return the number of the day of the snapshot for each row, and add the faults of the column that has it."""
    if not isinstance(schema.as_of, str):
        day = np.nan if schema.as_of is None else float(schema.as_of.toordinal())
        return np.full(len(frame), day)
    days, texts, faults = days_of(frame[schema.as_of], schema.missing, order_of_snapshot(schema))
    faults[EMPTY] = texts.isna().to_numpy() & ~faults[NOT_ONE_VALUE]
    for reason, broken in faults.items():
        if broken.any():
            shown = texts.mask(texts.isin(_ids(frame, schema))) if reason in (NOT_A_DATE, TWO_DATES) else None
            found.append(Fault.of(schema.as_of, reason, broken, shown, first_row, DATE_ADVICE[reason]))
    return days


def order_of_snapshot(schema: AccountSchema) -> Order | None:
    """Return what comes first in the dates of the column of the snapshot: what comes first in the others."""
    return next((item.order for item in schema.dates if item.order is not None), None)


class RowDates:
    """`since_dates` for single rows that are mappings."""

    def __init__(self, schema: AccountSchema) -> None:
        """Prepare the reading of dates."""
        self.columns = schema.dates
        self._as_of = schema.as_of if isinstance(schema.as_of, str) else None
        self._day = schema.as_of.toordinal() if isinstance(schema.as_of, date) else None
        self._order = order_of_snapshot(schema)
        self._markers = text_markers(schema.missing)

    def end(self, record: Any) -> tuple[float, tuple[str, str | None] | None]:
        """Return the number of the day of the snapshot of a row, and what is wrong with it: a reason and the text."""
        if self._as_of is None:
            return (np.nan if self._day is None else float(self._day)), None
        day, fault = self._read(record[self._as_of], self._order)
        if fault is None and np.isnan(day):
            return np.nan, (EMPTY, None)
        return day, fault

    @property
    def as_of(self) -> str | None:
        """Column that has the date of the snapshot, if there is one."""
        return self._as_of

    def since(self, record: Any, item: DateColumn, end: float) -> tuple[float, tuple[str, str | None] | None]:
        """Return the time since one date of a row, nan if it is missing, and what is wrong with it."""
        day, fault = self._read(record[item.column], item.order)
        since = end - day
        if fault is None and since < 0 and not item.future:
            fault = TOO_LATE, text_cell(record[item.column])
        return float(time_since(since, item.unit)), fault

    def _read(self, value: Any, order: Order | None) -> tuple[float, tuple[str, str | None] | None]:
        try:
            text = text_cell(value, self._markers)
        except NotOneValue:
            return np.nan, (NOT_ONE_VALUE, None)
        if text is None:
            return np.nan, None
        reading = read_date(text, order)
        return (float(reading.day), None) if reading.day is not None else (np.nan, (reading.fault, text))
