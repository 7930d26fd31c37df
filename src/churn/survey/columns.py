"""What the cells of a column show: numbers, dates, categories, or anything else."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from churn.config.schema import MISSING_NUMBERS
from churn.tables.cells import text_of
from churn.tables.dates import TWO_DATES, Order, read_date
from churn.tables.numbers import ANY_NUMBER, CURRENCY

# A column is one of numbers, or of dates, if so many of its cells are; the others are spellings of a missing value.
MOSTLY = 0.95
# Different other texts in a column of numbers that may be spellings of a missing value.
MOST_WORDS = 5
EXAMPLES, LONGEST_EXAMPLE = 3, 40
# Different values up to which a column has few: all of them are known, and it may be the label.
MOST_VALUES = 12
# A text of so many characters on average is a sentence.
SENTENCE = 40
# Rows that a category needs to become a feature (`feature_engineering.min_category_count`).
ROWS_OF_CATEGORY = 10
# Rows of a category whose churn rate says something (target encoding).
ROWS_OF_RATE = 4
_EMAIL = r"^[^@\s]+@[^@\s]+\.[A-Za-z]{2,}$"
_ABSENT = frozenset(text.lower() for text in MISSING_NUMBERS if text)

Kind = Literal["empty", "constant", "numbers", "dates", "categories", "texts", "unreadable"]


@dataclass(frozen=True)
class ColumnFacts:
    """What the cells of a column show.

    Attributes:
        name: Its name.
        kind: What most cells are.
        rows: Number of rows.
        missing: Number of rows without a value.
        different: Number of different values.
        examples: The most frequent values, cut if they are long.
        values: All values with their number of rows if there are few, the most frequent first; else none.
        words: Texts in a column of numbers or dates that seem to mean missing.
        in_categories: Share of the rows with a value whose value enough rows have to learn something from.
        length: Mean number of characters.
        has_emails: Whether most values are addresses of e-mail.
        has_leading_zeros: Whether some value is a number with a leading zero, which a code has.
        are_whole: Whether all numbers are whole.
        lowest: Smallest number, or first date, as text; empty for other kinds.
        highest: Largest number, or last date, as text; empty for other kinds.
        order: What comes first in its dates, if strokes are in them and some date proves it.
        is_order_open: Whether its dates have strokes and none of them proves what comes first.
        counts_up: Whether each value is one more than that of the row before.
        currency: Sign or code of the currency in its cells; empty if there is none.
    """

    name: str
    kind: Kind
    rows: int
    missing: int
    different: int
    examples: tuple[str, ...] = ()
    values: tuple[tuple[str, int], ...] = ()
    words: tuple[str, ...] = ()
    in_categories: float = 0.0
    length: float = 0.0
    has_emails: bool = False
    has_leading_zeros: bool = False
    are_whole: bool = False
    lowest: str = ""
    highest: str = ""
    order: Order | None = None
    is_order_open: bool = False
    counts_up: bool = False
    currency: str = ""

    @property
    def present(self) -> int:
        """Number of rows with a value."""
        return self.rows - self.missing

    @property
    def has_few_values(self) -> bool:
        """Whether it has several values, at most `MOST_VALUES`, including spellings of a missing one."""
        return len(self.values) >= 2

    @property
    def all_differ(self) -> bool:
        """Whether no value occurs twice."""
        return self.different == self.present and self.present > 0


def facts_of(column: pd.Series) -> ColumnFacts:
    """Return what the cells of a column show.

    Args:
        column: The cells as they were read, shape (n,).
    """
    name, rows = str(column.name), len(column)
    texts, several = text_of(column)
    if rows and several.sum() > (1 - MOSTLY) * rows:
        return ColumnFacts(name, "unreadable", rows, int(texts.isna().sum()), 0)
    counts = texts.value_counts()
    missing, different = int(texts.isna().sum()), len(counts)
    if not different:
        return ColumnFacts(name, "empty", rows, rows, 0)
    values = pa.array(counts.index, type=pa.large_string())
    weights = pa.array(counts.to_numpy())
    numbers = _share(pc.match_substring_regex(values, ANY_NUMBER), weights)
    shown = tuple(_cut(str(value)) for value in counts.index[:EXAMPLES])
    common: dict[str, Any] = {
        "examples": shown,
        "values": tuple((str(value), int(count)) for value, count in counts.items())
        if different <= MOST_VALUES
        else (),
        "length": float((counts.index.str.len().to_numpy() * counts.to_numpy()).sum() / (rows - missing)),
        "in_categories": float(counts[counts >= ROWS_OF_RATE].sum() / (rows - missing)),
    }
    is_typed = pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype)
    if not is_typed and (found := _dates(counts, rows, missing, common, name)):
        return found
    others = [str(value) for value in counts.index[:1000] if not re.match(ANY_NUMBER, str(value))]
    absent = {value for value in others if value.lower() in _ABSENT}
    if is_typed or numbers >= MOSTLY or (numbers and set(others) == absent):
        return _numbers(column, texts, counts, rows, missing, others, common, name)
    if different == 1:
        return ColumnFacts(name, "constant", rows, missing, 1, **common)
    emails = _share(pc.match_substring_regex(values, _EMAIL), weights) >= MOSTLY
    kind: Kind = "categories" if common["in_categories"] >= 0.5 and common["length"] < SENTENCE else "texts"
    if different <= 2:
        kind = "categories"
    return ColumnFacts(name, kind, rows, missing, different, has_emails=emails, **common)


def _numbers(
    column: pd.Series,
    texts: pd.Series,
    counts: pd.Series,
    rows: int,
    missing: int,
    others: list[str],
    common: dict[str, Any],
    name: str,
) -> ColumnFacts:
    plain = pd.to_numeric(pd.Series(counts.index, dtype="str"), errors="coerce")
    known = plain.dropna()
    words = tuple(value for value in others if value.lower() not in _ABSENT)
    missing += int(counts[others].sum()) if others else 0
    different = len(counts) - len(others)
    kind: Kind = "constant" if different <= 1 else "numbers"
    # Only the first rows: a table that is sorted by its index shows it there.
    first = pd.to_numeric(texts.head(1000), errors="coerce")
    steps = first.diff().dropna()
    signs = [match.group() for value in counts.index[:50] if (match := re.search(CURRENCY, str(value)))]
    return ColumnFacts(
        name,
        kind,
        rows,
        missing,
        different,
        words=words[:MOST_WORDS] if len(words) <= MOST_WORDS else (),
        has_leading_zeros=bool(counts.index.str.match(r"^0[0-9]+$").any()),
        are_whole=bool(len(known) == different and (known == known.round()).all()),
        lowest=f"{known.min():g}" if len(known) else "",
        highest=f"{known.max():g}" if len(known) else "",
        counts_up=bool(len(steps) > 1 and (steps == 1).all() and different == rows - missing),
        currency=signs[0] if signs else "",
        **common,
    )


def _dates(counts: pd.Series, rows: int, missing: int, common: dict[str, Any], name: str) -> ColumnFacts | None:
    """Return the facts of a column of dates; None if it is none."""
    values = [str(value) for value in counts.index]
    some = values[:: max(1, len(values) // 5000)]
    if any(re.fullmatch(r"[0-9]{8}", value) for value in some[:20]) and not _named_date(name):
        return None
    read = {value: read_date(value) for value in some}
    fits = {value for value, each in read.items() if each.day is not None or each.fault == TWO_DATES}
    others = [value for value in some if value not in fits]
    known = counts[list(read)]
    if counts[list(fits)].sum() < MOSTLY * known.sum() and {value.lower() for value in others} - _ABSENT - {
        "0000-00-00"
    }:
        return None
    if not fits:
        return None
    order, is_open = _order(fits)
    days = sorted(day for value in fits if (day := read_date(value, order).day) is not None)
    lowest, highest = (pd.Timestamp.fromordinal(days[at]).date().isoformat() if days else "" for at in (0, -1))
    words = tuple(value for value in others if value.lower() not in _ABSENT)
    return ColumnFacts(
        name,
        "constant" if len(fits) == 1 else "dates",
        rows,
        missing + int(counts[others].sum()),
        len(values) - len(others),
        words=words[:MOST_WORDS] if len(words) <= MOST_WORDS else (),
        lowest=lowest,
        highest=highest,
        order=order,
        is_order_open=is_open,
        **common,
    )


def _named_date(name: str) -> bool:
    return re.search(r"date|datum|day|tag|_on$|_at$|since|seit|fecha", name, re.IGNORECASE) is not None


def _order(values: Iterable[str]) -> tuple[Order | None, bool]:
    """Return what comes first in dates with strokes, and whether that is open."""
    day = month = strokes = False
    for value in values:
        if read_date(value).fault == TWO_DATES:
            strokes = True
        elif re.match(r"[0-9]{1,2}[/-]", value):
            strokes = True
            first, second = (int(part) for part in re.findall(r"[0-9]+", value)[:2])
            day, month = day or first > 12, month or second > 12
    if day == month:
        return None, strokes
    return ("day" if day else "month"), False


def _share(mask: pa.Array, weights: pa.Array) -> float:
    return float(pc.sum(pc.if_else(mask, weights, 0)).as_py() or 0) / float(pc.sum(weights).as_py() or 1)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_EXAMPLE else text[:LONGEST_EXAMPLE] + "..."
