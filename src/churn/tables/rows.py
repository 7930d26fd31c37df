"""Check account rows that are Python values, one by one, without a frame: as fast as a service needs it.

The values, the faults and their words are those of `churn.tables.checks`, which checks columns.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple, cast

from churn.config import AccountSchema
from churn.tables.cells import number_markers, quoted, text_markers
from churn.tables.checks import check_columns
from churn.tables.dates import DATE_ADVICE, NOT_A_DATE, TOO_LATE, TWO_DATES, RowDates
from churn.tables.faults import (
    CATEGORICAL_ADVICE,
    EMPTY,
    HIDDEN,
    HIDDEN_NUMBER,
    ID_ADVICE,
    LARGEST_NUMBER,
    MAX_EXAMPLES,
    NOT_A_NUMBER,
    NOT_FINITE,
    NOT_ONE_VALUE,
    NOT_WHOLE,
    NUMERIC_ADVICE,
    REPEATED,
    TOO_LARGE,
    Fault,
    above,
    below,
)
from churn.tables.spelling import NotOneValue, number_cell, text_cell

Value = float | str | None
# Whole numbers up to this size are float64 without rounding.
_EXACT = 2**53
# Sets of columns that are remembered, and the number of columns of such a set: strangers can send any.
_MOST_HEADERS, _MOST_NAMES = 64, 1_000


class RowFault(NamedTuple):
    """A fault of one row.

    Attributes:
        row: Position of the row among the records, from 0.
        column: Name of the column; None if the fault is one of the row as a whole.
        message: The sentence of the batch check, in which rows count from 1.
        reason: What is wrong with the value, for example ``not a number``; the message if there is no column.
    """

    row: int
    column: str | None
    message: str
    reason: str


class CheckedRecords(NamedTuple):
    """Canonical rows and the faults of the others.

    Attributes:
        rows: Positions of the rows without faults.
        accounts: Their canonical values by column: id, numeric columns (nan where missing), categorical ones (None).
        faults: Faults of the other rows, in the order of the records.
        sentences: The same faults as `churn.tables.check_accounts` lists them, several rows in one sentence.
    """

    rows: list[int]
    accounts: list[dict[str, Value]]
    faults: list[RowFault]
    sentences: list[str]


class _Found(NamedTuple):
    """A fault of a value: its place in the order of the check, and an example if one may be shown."""

    place: tuple[int, int]
    row: int
    column: str
    reason: str
    example: str | None
    advice: str

    @property
    def fault(self) -> Fault:
        examples = () if self.example is None else (self.example,)
        return Fault(self.column, self.reason, 1, (self.row + 1,), examples, self.advice)


class RowCheck:
    """The check of rows against a schema."""

    def __init__(self, schema: AccountSchema, subject: str) -> None:
        """Prepare the check; the subject names the rows in messages."""
        self._schema, self._subject = schema, subject
        self._missing = number_markers(schema.missing)
        self._missing_text = text_markers(schema.missing_text)
        self._headers: dict[tuple[Any, ...], tuple[list[str], list[str]]] = {}
        self._numeric = [
            (
                place,
                item.column,
                -LARGEST_NUMBER if item.minimum is None else max(item.minimum, -LARGEST_NUMBER),
                LARGEST_NUMBER if item.maximum is None else min(item.maximum, LARGEST_NUMBER),
                item.integer,
            )
            for place, item in enumerate(schema.numeric, 1)
        ]
        # The order of the batch check: the column of the snapshot comes before the dates.
        self._dates = RowDates(schema)
        first = 1 + len(schema.numeric) + 1 + len(schema.dates)
        self._categorical = list(enumerate(schema.categorical, first))
        rules = enumerate(schema.not_above, first + len(schema.categorical))
        self._rules = [(place, rule.column, rule.limit) for place, rule in rules]

    def __call__(self, records: Sequence[Mapping[str, Any]], as_of: date | None = None) -> CheckedRecords:
        """Check rows, each by itself, except that an id may occur once.

        Args:
            records: The rows.
            as_of: Date of the snapshot, if it is not that of the schema; see `AccountSchema.counted_to`.
        """
        dates = self._dates if as_of is None or not self._dates.columns else RowDates(self._schema.counted_to(as_of))
        whole: dict[int, list[str]] = {}
        found: list[_Found] = []
        ids: dict[int, str | None] = {}
        seen: set[str] = set()
        name = self._schema.id
        for row, record in enumerate(records):
            if faults := self._header_faults(record):
                whole[row] = faults
                continue
            try:
                ids[row] = text = text_cell(record[name])
            except NotOneValue:
                ids[row] = None
                found.append(_Found((0, 0), row, name, NOT_ONE_VALUE, None, ID_ADVICE[NOT_ONE_VALUE]))
                continue
            if text is None:
                found.append(_Found((0, 1), row, name, EMPTY, None, ""))
            elif text in seen:
                found.append(_Found((0, 2), row, name, REPEATED, None, ID_ADVICE[REPEATED]))
            else:
                seen.add(text)
        rows, accounts = [], []
        faulty = {each.row for each in found}
        for row, text in ids.items():
            before = len(found)
            account = self._account(row, records[row], text, seen, dates, found)
            if len(found) == before and row not in faulty:
                rows.append(row)
                accounts.append(account)
        if not found and not whole:
            return CheckedRecords(rows, accounts, [], [])
        return CheckedRecords(rows, accounts, _of_rows(whole, found), _sentences(whole, found, len(records)))

    def notes(self, records: Sequence[Mapping[str, Any]]) -> list[str]:
        """Return a sentence for each column that is ignored, as `churn.tables.checks.check_columns` does."""
        return list(dict.fromkeys(note for record in records for note in self._header(record)[1]))

    def _header(self, record: Mapping[str, Any]) -> tuple[list[str], list[str]]:
        names = tuple(record)
        known = self._headers.get(names)
        if known is None:
            shown = [name if isinstance(name, str) else repr(name) for name in names]
            known = check_columns(shown, self._schema, subject=self._subject, labelled=False)
            if not known[0] and len(names) <= _MOST_NAMES and len(self._headers) < _MOST_HEADERS:
                self._headers[names] = known
        return known

    def _header_faults(self, record: Any) -> list[str]:
        if not isinstance(record, Mapping):
            # Without its content, which may be an id.
            return [f"the row is no record of columns and their values but of the type {type(record).__name__}"]
        return self._header(record)[0]

    def _account(
        self,
        row: int,
        record: Mapping[str, Any],
        text: str | None,
        ids: set[str],
        dates: RowDates,
        found: list[_Found],
    ) -> dict[str, Value]:
        """Return the canonical values of a row and add its faults."""
        account: dict[str, Value] = {self._schema.id: text}
        missing, markers = self._missing, self._missing.numbers
        for place, name, low, high, whole in self._numeric:
            value = record[name]
            kind = type(value)
            if (kind is float and low <= value <= high) or (kind is int and -_EXACT <= value <= _EXACT):
                number = float(value)
                if number in markers:
                    number = math.nan
            elif value is None:
                account[name] = math.nan
                continue
            else:
                try:
                    read = number_cell(value, missing)
                except NotOneValue:
                    found.append(_Found((place, 0), row, name, NOT_ONE_VALUE, None, NUMERIC_ADVICE[NOT_ONE_VALUE]))
                    account[name] = math.nan
                    continue
                if read is None:
                    found.append(_not_a_number(place, row, name, value, ids))
                    account[name] = math.nan
                    continue
                number = read
            account[name] = number
            if not (low <= number <= high) or (whole and not number.is_integer()):
                found += self._number_faults(place, row, name, number)
        if dates.columns:
            found += self._date_faults(row, record, ids, dates, account)
        for place, name in self._categorical:
            try:
                account[name] = text_cell(record[name], self._missing_text)
            except NotOneValue:
                found.append(_Found((place, 0), row, name, NOT_ONE_VALUE, None, CATEGORICAL_ADVICE[NOT_ONE_VALUE]))
                account[name] = None
        for place, name, limit in self._rules:
            low, most = cast("float", account[name]), cast("float", account[limit])
            if low > most and math.isfinite(low):
                found.append(_Found((place, 0), row, name, f"above {limit}", quoted(low), ""))
        return account

    def _date_faults(
        self, row: int, record: Mapping[str, Any], ids: set[str], dates: RowDates, account: dict[str, Value]
    ) -> Iterator[_Found]:
        """Add the time since each date to the canonical values of a row, and yield the faults of the dates."""
        first = 1 + len(self._schema.numeric)
        end, wrong = dates.end(record)
        if wrong and dates.as_of:
            yield _date_fault(first, row, dates.as_of, wrong, ids)
        for place, item in enumerate(dates.columns, first + 1):
            account[item.feature], wrong = dates.since(record, item, end)
            if wrong:
                yield _date_fault(place, row, item.column, wrong, ids)

    def _number_faults(self, place: int, row: int, name: str, number: float) -> list[_Found]:
        """Return the faults of a number, in the order of the batch check; none if it is missing."""
        item = self._schema.numeric[place - 1]
        reasons: list[tuple[int, str]] = []
        if math.isinf(number):
            reasons.append((3, NOT_FINITE))
        elif not math.isnan(number):
            if abs(number) > LARGEST_NUMBER:
                reasons.append((4, TOO_LARGE))
            if item.integer and not number.is_integer():
                reasons.append((5, NOT_WHOLE))
            if item.minimum is not None and number < item.minimum:
                reasons.append((6, below(item.minimum)))
            if item.maximum is not None and number > item.maximum:
                reasons.append((7, above(item.maximum)))
        return [
            _Found((place, rank), row, name, reason, quoted(number), NUMERIC_ADVICE.get(reason, ""))
            for rank, reason in reasons
        ]


def _not_a_number(place: int, row: int, name: str, value: Any, ids: set[str]) -> _Found:
    text = text_cell(value) or ""
    if re.fullmatch(HIDDEN_NUMBER, text):
        return _Found((place, 1), row, name, HIDDEN, None, NUMERIC_ADVICE[HIDDEN])
    # Text in a numeric column may be a shifted row: an id must not reach the log.
    example = None if text in ids else quoted(text)
    return _Found((place, 2), row, name, NOT_A_NUMBER, example, NUMERIC_ADVICE[NOT_A_NUMBER])


def _date_fault(place: int, row: int, name: str, wrong: tuple[str, str | None], ids: set[str]) -> _Found:
    reason, text = wrong
    rank = (NOT_ONE_VALUE, NOT_A_DATE, TWO_DATES, TOO_LATE, EMPTY).index(reason)
    example = None if text is None or text in ids else quoted(text)
    return _Found((place, rank), row, name, reason, example, DATE_ADVICE[reason])


def _of_rows(whole: Mapping[int, list[str]], found: Sequence[_Found]) -> list[RowFault]:
    faults = [RowFault(row, None, fault, fault) for row, sentences in whole.items() for fault in sentences]
    inside = sorted(found, key=lambda each: (each.row, each.place))
    faults += [RowFault(each.row, each.column, each.fault.sentence, each.reason) for each in inside]
    return sorted(faults, key=lambda fault: fault.row)


def _sentences(whole: Mapping[int, list[str]], found: Sequence[_Found], count: int) -> list[str]:
    """Return the faults of all rows, one sentence for each column and reason."""
    alike: dict[str, list[int]] = {}
    for row, sentences in whole.items():
        for sentence in sentences:
            alike.setdefault(sentence, []).append(row + 1)
    lines = [sentence + ("" if len(rows) == count else f" ({_rows(rows)})") for sentence, rows in alike.items()]
    merged: dict[tuple[int, int], Fault] = {}
    for each in sorted(found, key=lambda each: (each.place, each.row)):
        fault = each.fault
        merged[each.place] = _added(merged[each.place], fault) if each.place in merged else fault
    return lines + [fault.sentence for fault in merged.values()]


def _added(fault: Fault, later: Fault) -> Fault:
    # As in the batch check, only the first few rows give examples, even if these may not be shown.
    return fault + (later if fault.count < MAX_EXAMPLES else Fault(**{**vars(later), "examples": ()}))


def _rows(rows: Sequence[int]) -> str:
    more = ", ..." if len(rows) > MAX_EXAMPLES else ""
    return f"row{'s' if len(rows) > 1 else ''} {', '.join(map(str, rows[:MAX_EXAMPLES]))}{more}"
