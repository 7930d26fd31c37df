"""What an account table is: the roles of its columns, and whether a table keeps to them.

Whatever the source, the rest of the project sees the *canonical* table: the id and the categories as text, the
numeric columns as float64 with nan where missing, the label as 0 and 1, and no other column.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn.errors import AccountsError
from churn.parameters import Accounts

MAX_EXAMPLES = 3
MAX_EXAMPLE_LENGTH = 40
NO_ROWS = "the table has no rows"
NOT_A_NUMBER = "not a number"
OUTCOMES = "outcomes of the scored accounts"
# An outcome that is not known yet.
UNKNOWN = -1
# Different labels that are counted; a label has two.
MAX_LABELS = 100


class CheckedAccounts(NamedTuple):
    """A canonical account table, and notes on what was ignored in the source."""

    accounts: pd.DataFrame
    notes: list[str]


@dataclass(frozen=True)
class Fault:
    """What is wrong with some values of a column, and in which rows.

    Attributes:
        column: Where.
        reason: What they are that they must not be.
        count: How many.
        rows: Rows of the first few, counted from 1 without the header.
        examples: The first few values as messages show them, never ids.
        advice: How the sentence ends.
    """

    column: str
    reason: str
    count: int
    rows: tuple[int, ...]
    examples: tuple[str, ...] = ()
    advice: str = ""

    @classmethod
    def of(
        cls,
        column: str,
        reason: str,
        broken: NDArray[np.bool_],
        values: pd.Series | None,
        first_row: int = 1,
        advice: str = "",
    ) -> Self:
        """The fault of the values at some places; without values there are no examples."""
        places = np.flatnonzero(broken)
        samples = () if values is None else tuple(values[broken].head(MAX_EXAMPLES).dropna())
        return cls(
            column,
            reason,
            len(places),
            tuple((places[:MAX_EXAMPLES] + first_row).tolist()),
            tuple(map(quoted, samples)),
            advice,
        )

    def __add__(self, later: "Fault") -> "Fault":
        """The same fault in these rows and in later ones."""
        return replace(
            self,
            count=self.count + later.count,
            rows=(self.rows + later.rows)[:MAX_EXAMPLES],
            examples=(self.examples + later.examples)[:MAX_EXAMPLES],
        )

    def after(self, rows: int) -> "Fault":
        """The same fault where so many rows come before those it was found in."""
        return replace(self, rows=tuple(row + rows for row in self.rows))

    @property
    def sentence(self) -> str:
        """The fault as messages tell it."""
        count = f"{self.count} value{'s are' if self.count > 1 else ' is'}"
        example = f", for example {', '.join(self.examples)}" if self.examples else ""
        more = ", ..." if self.count > len(self.rows) else ""
        rows = f"row{'s' if self.count > 1 else ''} {', '.join(map(str, self.rows))}{more}"
        return f"{self.column}: {count} {self.reason}{example} ({rows}){self.advice}"


def check_accounts(frame: pd.DataFrame, roles: Accounts, *, subject: str, labelled: bool) -> CheckedAccounts:
    """Check a table against its roles and bring it into canonical form.

    Args:
        frame: Account table as it came, one row an account.
        roles: What each column is.
        subject: What the table is called in messages.
        labelled: Whether the label is needed; without, a label column is ignored.

    Returns:
        The canonical table in the order of the source's rows, and notes on ignored columns.

    Raises:
        AccountsError: Lists every fault with its column, a few example values (never ids) and their rows, counted
            from 1 without the header.
    """
    faults, notes = check_columns([str(name) for name in frame.columns], roles, subject=subject, labelled=labelled)
    if not len(frame):
        faults.append(NO_ROWS)
    if faults:
        raise AccountsError(subject, faults)

    accounts, found = check_rows(frame, roles)
    found += repeated(_again(accounts[roles.id]), roles.id)
    faults = sentences(found, roles)
    if labelled:
        seen = LabelledRows()
        accounts[roles.label.column] = seen.look(accounts, frame[roles.label.column], roles)
        faults += seen.faults(found, roles)
    if faults:
        raise AccountsError(subject, faults)
    return CheckedAccounts(accounts, notes)


def check_columns(
    names: Sequence[str], roles: Accounts, *, subject: str, labelled: bool
) -> tuple[list[str], list[str]]:
    """Check the names of a table's columns against its roles; faults, and notes on what is ignored."""
    faults = list(_column_faults(names, roles, labelled))
    notes: list[str] = []
    known = {*roles.text_columns, *roles.numeric_names, *roles.left_out}
    spare = [name for name in names if name not in known]
    if spare and roles.strict:
        faults.append(
            f"columns without a role: {', '.join(spare)}; name them in accounts.left_out, or set accounts.strict to false"
        )
    elif spare:
        notes.append(f"{subject}: ignored columns without a role: {', '.join(spare)}")
    if not labelled and roles.label.column in names:
        notes.append(f"{subject}: the label '{roles.label.column}' is not used here")
    return faults, notes


def check_rows(frame: pd.DataFrame, roles: Accounts, first_row: int = 1) -> tuple[pd.DataFrame, list[Fault]]:
    """Check rows that have all columns, each by itself, and bring them into canonical form.

    Args:
        frame: Some or all rows of an account table.
        roles: What each column is.
        first_row: Number of the first of them in the table.

    Returns:
        The rows without the label, and their faults. Whether an id occurs twice is not looked at.
    """
    found: list[Fault] = []

    def fault(column: str, reason: str, broken: NDArray[np.bool_], values: pd.Series | None) -> None:
        if broken.any():
            found.append(Fault.of(column, reason, broken, values, first_row))

    ids = as_text(frame[roles.id])
    columns: dict[str, pd.Series] = {roles.id: ids}
    fault(roles.id, "empty", ids.isna().to_numpy(), None)
    for item in roles.numeric:
        values, wrong = as_numbers(frame[item.column])
        columns[item.column] = values
        numbers = values.to_numpy()
        if wrong.any():
            # Text in a numeric column may be a shifted row: an id must not reach the log.
            shown = frame[item.column].mask(frame[item.column].astype("str").isin(ids))
            fault(item.column, NOT_A_NUMBER, wrong, shown)
        fault(item.column, "not finite", np.isinf(numbers), values)
        with np.errstate(invalid="ignore"):
            if item.integer:
                broken = np.isfinite(numbers) & (numbers != np.floor(numbers))
                fault(item.column, "not a whole number", broken, values)
            if item.minimum is not None:
                broken = (numbers < item.minimum) & np.isfinite(numbers)
                fault(item.column, f"below the minimum of {item.minimum:g}", broken, values)
            if item.maximum is not None:
                broken = (numbers > item.maximum) & np.isfinite(numbers)
                fault(item.column, f"above the maximum of {item.maximum:g}", broken, values)
    for name in roles.categorical:
        columns[name] = as_text(frame[name])
    for rule in roles.not_above:
        low, high = columns[rule.column].to_numpy(), columns[rule.limit].to_numpy()
        with np.errstate(invalid="ignore"):
            broken = (low > high) & np.isfinite(low)
        fault(rule.column, f"above {rule.limit}", broken, columns[rule.column])
    return pd.DataFrame(columns), found


def _with_labels(known: frozenset[str], more: Iterable[str]) -> frozenset[str]:
    # A column of all different values must not be held.
    return frozenset(sorted({*known, *more})[:MAX_LABELS])


@dataclass
class LabelledRows:
    """What was seen of rows to train on, beside what `check_rows` finds; those of the parts of a table add up.

    Attributes:
        rows: Rows looked at.
        labels: The different labels, at most a few more than the two there should be.
        missing: The fault of rows without a label, if any.
        with_values: Columns that have a value in some row.
    """

    rows: int = 0
    labels: frozenset[str] = frozenset()
    missing: Fault | None = None
    with_values: frozenset[str] = frozenset()

    def look(self, accounts: pd.DataFrame, labels: pd.Series, roles: Accounts) -> pd.Series:
        """Look at the next rows, canonical but for their labels; gives those as 0 and 1."""
        text = _label_text(labels)
        empty = text.isna().to_numpy()
        if empty.any():
            advice = "; every training account needs its outcome"
            fault = Fault.of(roles.label.column, "missing", empty, None, self.rows + 1, advice)
            self.missing = self.missing + fault if self.missing else fault
        self.labels = _with_labels(self.labels, text.dropna().unique())
        names = [name for name in (*roles.numeric_names, *roles.categorical) if name not in self.with_values]
        self.with_values |= {name for name in names if accounts[name].notna().any()}
        self.rows += len(accounts)
        return (text == _label_key(roles)).astype(np.int8)

    def follow(self, later: "LabelledRows") -> None:
        """Take over what was seen of the rows that follow these ones."""
        if later.missing:
            fault = later.missing.after(self.rows)
            self.missing = self.missing + fault if self.missing else fault
        self.labels = _with_labels(self.labels, later.labels)
        self.with_values |= later.with_values
        self.rows += later.rows

    def faults(self, found: Iterable[Fault], roles: Accounts) -> list[str]:
        """What is wrong with a table of which these rows are all, given the faults of its rows."""
        not_numbers = {fault.column for fault in found if fault.reason == NOT_A_NUMBER}
        faults = [
            f"{name}: has no value at all; take it out of accounts.{role}"
            for role, names in (("numeric", roles.numeric_names), ("categorical", roles.categorical))
            for name in names
            if name not in self.with_values and name not in not_numbers
        ]
        if self.missing:
            faults.append(self.missing.sentence)
        return [*faults, *_label_faults(self.labels, roles, classes=(0, 2))]


def repeated(again: NDArray[np.bool_], name: str) -> list[Fault]:
    """The fault of ids that occurred before, where there are any: for each row of the table whether its id did."""
    advice = "; an account has one row"
    return [Fault.of(name, "a repetition of an earlier id", again, None, advice=advice)] if again.any() else []


@dataclass
class OutcomeRows:
    """What was seen of the outcomes of scored accounts; that of the parts of a table adds up.

    Attributes:
        rows: Rows looked at.
        labels: The different labels, at most a few more than the two there should be.
        empty: The fault of rows without an id, if any.
    """

    rows: int = 0
    labels: frozenset[str] = frozenset()
    empty: Fault | None = None

    def look(self, batch: pd.DataFrame, roles: Accounts) -> tuple[pd.Series, NDArray[np.int8]]:
        """Look at the next rows; gives their ids as text, and what became of them: 1 churned, 0 stayed, -1 not known."""
        ids, text = as_text(batch[roles.id]), _label_text(batch[roles.label.column])
        empty = ids.isna().to_numpy(bool)
        if empty.any():
            fault = Fault.of(roles.id, "empty", empty, None, self.rows + 1)
            self.empty = self.empty + fault if self.empty else fault
        self.labels = _with_labels(self.labels, text.dropna().unique())
        self.rows += len(batch)
        known, churned = text.notna().to_numpy(bool), (text == _label_key(roles)).to_numpy(bool)
        return ids, np.where(known, churned, UNKNOWN).astype(np.int8)

    def follow(self, later: "OutcomeRows") -> None:
        """Take over what was seen of the rows that follow these ones."""
        if later.empty:
            fault = later.empty.after(self.rows)
            self.empty = self.empty + fault if self.empty else fault
        self.labels = _with_labels(self.labels, later.labels)
        self.rows += later.rows

    def check(self, repetitions: list[Fault], roles: Accounts) -> None:
        """Refuse a table of which these rows are all; it may have none.

        Args:
            repetitions: The fault of ids that occur more than once, if any do.
            roles: What each column is.

        Raises:
            AccountsError: Lists every fault.
        """
        found = [*([self.empty] if self.empty else []), *repetitions]
        faults = [fault.sentence for fault in found] + list(_label_faults(self.labels, roles, classes=(0, 1, 2)))
        if faults:
            raise AccountsError(OUTCOMES, faults)


def check_outcome_columns(names: Sequence[str], roles: Accounts) -> None:
    """Refuse a table of outcomes that lacks a column.

    Raises:
        AccountsError: Names what it lacks.
    """
    missing = [name for name in (roles.id, roles.label.column) if name not in names]
    if missing:
        raise AccountsError(OUTCOMES, [f"missing columns: {', '.join(missing)}; the table has: {', '.join(names)}"])


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


def _column_faults(names: Sequence[str], roles: Accounts, labelled: bool) -> Iterable[str]:
    needed = [roles.id, *roles.numeric_names, *roles.categorical, *([roles.label.column] if labelled else [])]
    missing = [name for name in needed if name not in names]
    if missing:
        yield f"missing columns: {', '.join(missing)}; the table has: {', '.join(names) or 'none'}"
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        yield f"columns that occur more than once: {', '.join(twice)}"


def _again(ids: pd.Series) -> NDArray[np.bool_]:
    """Whether each id occurred before."""
    return (ids.duplicated() & ids.notna()).to_numpy(bool)


def sentences(found: Iterable[Fault], roles: Accounts) -> list[str]:
    """Faults as messages tell them, those of the id first."""
    return [fault.sentence for fault in sorted(found, key=lambda fault: fault.column != roles.id)]


def _label_key(roles: Accounts) -> str:
    return roles.label.positive.strip().lower()


def _label_text(series: pd.Series) -> pd.Series:
    return as_text(series).str.strip().str.lower()


def _label_faults(found: Iterable[str], roles: Accounts, classes: tuple[int, ...]) -> Iterable[str]:
    name, values = roles.label.column, sorted(found)
    shown = ", ".join(map(quoted, values[:MAX_EXAMPLES]))
    if len(values) > 2:
        count = f"{len(values)}" if len(values) < MAX_LABELS else f"{MAX_LABELS} or more"
        yield f"{name}: holds {count} different values ({shown}, ...), a label has two"
    elif len(values) not in classes:
        yield f"{name}: holds one class only ({shown}); a model needs accounts of both"
    if len(values) > 1 and _label_key(roles) not in values:
        yield f"{name}: accounts.label.positive is {quoted(roles.label.positive)}, which never occurs; it holds {shown}"


def quoted(value: object) -> str:
    """A value as messages show it: short numbers, text in quotes and cut where it is long."""
    if isinstance(value, float):
        return f"{value:g}"
    text = str(value)
    return repr(text if len(text) <= MAX_EXAMPLE_LENGTH else text[:MAX_EXAMPLE_LENGTH] + "...")
