"""What the cells of a column show: numbers, dates, categories, or anything else."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
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
# Different other texts in a column of numbers or dates that may be spellings of a missing value.
MOST_WORDS = 5
# Slips of the pen: other texts in so few rows, or in such a share of them, are read as missing even if they hold digits.
FEW_ROWS, FEW_SHARE, MOST_SLIPS = 3, 0.001, 20
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
# Marks that stand for a missing value in any column, and those that may be a value beside a plus, as of a blood group.
_MARKS = frozenset(("?", "??", "???", ".", "..", "..."))
_DASHES = frozenset(("-", "--", "---", "\u2013", "\u2014"))
# Words that do so in a column of numbers or dates.
_NO_NUMBER = (
    _ABSENT
    | _MARKS
    | _DASHES
    | {"unknown", "missing", "unbekannt", "n.a.", "n/k", "n.k.", "k.a.", "<na>", "(null)", "\\n"}
)
# Dates that programs write where there is none, if no other date is within years of them.
_PLACEHOLDERS = ("0001-01-01", "1601-01-01", "1753-01-01", "1899-12-30", "1899-12-31", "1900-01-01", "1901-01-01", "1904-01-01",
    "1970-01-01", "2099-12-31", "2999-12-31", "3000-01-01", "9999-01-01", "9999-12-31")  # fmt: skip
_FAR = 5 * 365
_NO_DATE = _NO_NUMBER | {"0000-00-00", "0000-00-00 00:00:00", "00.00.0000"}

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
        words: Texts that seem to mean missing: in a column of numbers or dates any other text, else a mark such as ``?``.
        in_categories: Share of the rows with a value whose value enough rows have to learn something from.
        repeated: Share of the rows with a value whose value some other row has too.
        mixed: The most frequent text that is no number, if most of the others are; empty if it is no such column.
        length: Mean number of characters.
        has_emails: Whether most values are addresses of e-mail.
        has_leading_zeros: Whether some value is a number with a leading zero, which a code has.
        are_whole: Whether all numbers are whole.
        lowest: Smallest number, or first date, as text; empty for other kinds.
        highest: Largest number, or last date, as text; empty for other kinds.
        order: What comes first in its dates, if strokes are in them and some date proves it.
        is_order_open: Whether its dates have strokes and none of them proves what comes first.
        counts_up: Whether each value is by the same amount, of one or more, above that of the row before.
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
    repeated: float = 0.0
    mixed: str = ""
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
    common = _common(counts, rows - missing)
    is_typed = pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype)
    if not is_typed and (found := _dates(counts, rows, missing, common, name)):
        return found
    are_numbers = pc.match_substring_regex(values, ANY_NUMBER).to_numpy(zero_copy_only=False)
    others = counts[~are_numbers]
    numbers = float(counts[are_numbers].sum()) / max(1, rows - missing - _rows_of(others, _NO_NUMBER))
    if is_typed or (numbers >= MOSTLY and _may_be_missing(others, rows)):
        return _numbers(column, texts, counts, rows, missing, others.index.astype(str).tolist(), common, name)
    if numbers >= MOSTLY:
        words = (str(value) for value in others.index if str(value).lower() not in _NO_NUMBER)
        common["mixed"] = _cut(next(words))
    if marks := _marks(counts):
        counts, missing = counts.drop(marks), missing + int(counts[marks].sum())
        different = len(counts)
        common |= {**_common(counts, rows - missing), "words": tuple(marks)}
    if different == 1:
        return ColumnFacts(name, "constant", rows, missing, 1, **common)
    emails = _share(pc.match_substring_regex(values, _EMAIL), weights) >= MOSTLY
    # Few long texts that many rows share are the answers of a form, and no sentences of a person.
    is_short = common["length"] < SENTENCE or different * ROWS_OF_CATEGORY <= rows - missing
    kind: Kind = "categories" if common["in_categories"] >= 0.5 and is_short else "texts"
    if different <= 2:
        kind = "categories"
    return ColumnFacts(name, kind, rows, missing, different, has_emails=emails, **common)


def _common(counts: pd.Series, present: int) -> dict[str, Any]:
    """Return the facts that columns of all kinds have, of a column with some values."""
    return {
        "examples": tuple(_cut(str(value)) for value in counts.index[:EXAMPLES]),
        "values": tuple((str(value), int(count)) for value, count in counts.items())
        if len(counts) <= MOST_VALUES
        else (),
        "length": float((counts.index.str.len().to_numpy() * counts.to_numpy()).sum() / present),
        "in_categories": float(counts[counts >= ROWS_OF_RATE].sum() / present),
        "repeated": float(counts[counts > 1].sum() / present),
    }


def _rows_of(counts: pd.Series, texts: Collection[str]) -> int:
    return int(counts[counts.index.str.lower().isin(list(texts))].sum())


def _may_be_missing(others: pd.Series, rows: int) -> bool:
    """Return whether the texts of a column of numbers or dates that are neither may be spellings of a missing value.

    Args:
        others: Number of rows of each such text.
        rows: Number of rows of the column.
    """
    unknown = others[~others.index.str.lower().isin(list(_NO_NUMBER))]
    if unknown.sum() <= max(FEW_ROWS, FEW_SHARE * rows):
        return len(unknown) <= MOST_SLIPS
    # A text with a digit, such as V57 or 10+, is a value.
    return len(unknown) <= MOST_WORDS and not unknown.index.str.contains("[0-9]").any()


def _marks(counts: pd.Series) -> list[str]:
    """Return the marks for a missing value among categories."""
    values = [str(value) for value in counts.index]
    marks = {value for value in values if value in _MARKS}
    if len(values) - len(marks) > 2 and not any("+" in value for value in values):
        marks |= {value for value in values if value in _DASHES}
    return [value for value in values if value in marks] if len(marks) < len(values) else []


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
    is_even = len(steps) > 1 and steps.iloc[0] >= 1 and bool((steps == steps.iloc[0]).all())
    signs = [match.group() for value in counts.index[:50] if (match := re.search(CURRENCY, str(value)))]
    return ColumnFacts(
        name,
        kind,
        rows,
        missing,
        different,
        words=words,
        has_leading_zeros=bool(counts.index.str.match(r"^0[0-9]+$").any()),
        are_whole=bool(len(known) == different and (known == known.round()).all()),
        lowest=f"{known.min():g}" if len(known) else "",
        highest=f"{known.max():g}" if len(known) else "",
        counts_up=is_even and different == rows - missing,
        currency=signs[0] if signs else "",
        **common,
    )


def _dates(counts: pd.Series, rows: int, missing: int, common: dict[str, Any], name: str) -> ColumnFacts | None:
    """Return the facts of a column of dates; None if it is none."""
    values = [str(value) for value in counts.index]
    some = values[:: max(1, len(values) // 5000)]
    if any(re.fullmatch(r"[0-9]{8}", value) for value in some[:20]) and not _named_date(name):
        return None
    # All values are read only where most of some are dates.
    for looked_at in (some, values):
        fits = {value for value in looked_at if _is_date(value)}
        others = counts[[value for value in looked_at if value not in fits]]
        known = counts[looked_at].sum() - _rows_of(others, _NO_DATE)
        if not fits or counts[list(fits)].sum() < MOSTLY * known:
            return None
    unknown = others[~others.index.isin(list(_NO_DATE))]
    # Spellings hold for the whole table: a number that means no date here is a number elsewhere.
    if not _may_be_missing(unknown, rows) or any(re.fullmatch(r"-?[0-9.]{1,7}", str(value)) for value in unknown.index):
        return None
    order, is_open = _order(fits)
    read = {value: day for value in fits if (day := read_date(value, order).day) is not None}
    placeholders = _placeholders(read)
    days = sorted(set(read.values()) - {read[value] for value in placeholders})
    fits -= placeholders
    others = counts[[value for value in values if value not in fits]]
    lowest, highest = (pd.Timestamp.fromordinal(days[at]).date().isoformat() if days else "" for at in (0, -1))
    words = tuple(str(value) for value in others.index if str(value).lower() not in _ABSENT)
    return ColumnFacts(
        name,
        "constant" if len(fits) == 1 else "dates",
        rows,
        missing + int(others.sum()),
        len(values) - len(others),
        words=words,
        lowest=lowest,
        highest=highest,
        order=order,
        is_order_open=is_open,
        **common,
    )


def _is_date(value: str) -> bool:
    found = read_date(value)
    return found.day is not None or found.fault == TWO_DATES


def _placeholders(days: Mapping[str, int]) -> set[str]:
    """Return the dates that stand for a missing one: those that programs write for none, far from all others.

    Args:
        days: Number of the day of each text.
    """
    special = {date.fromisoformat(each).toordinal() for each in _PLACEHOLDERS}
    known = sorted(set(days.values()) - special)
    if not known:
        return set()
    return {
        value for value, day in days.items() if day in special and (day < known[0] - _FAR or day > known[-1] + _FAR)
    }


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
