"""Check an account table against its schema and convert it to canonical form.

Whatever the source, the rest of the project sees the *canonical* table: the id and the categories as text, the
numeric columns as float64 with nan where missing, the label as 0 and 1, the columns to carry as text where the table has
them, and no other column.
"""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn.config import AccountSchema
from churn.errors import AccountsError
from churn.tables.cells import as_numbers, as_written, text_of
from churn.tables.dates import since_dates
from churn.tables.faults import (
    CARRIED_ADVICE,
    CATEGORICAL_ADVICE,
    EMPTY,
    HIDDEN,
    HIDDEN_NUMBER,
    ID_ADVICE,
    LARGEST_NUMBER,
    NOT_A_NUMBER,
    NOT_FINITE,
    NOT_ONE_VALUE,
    NOT_WHOLE,
    NUMERIC_ADVICE,
    TOO_LARGE,
    Fault,
    above,
    below,
    repeated,
    sentences,
)
from churn.tables.labels import LEFT_OUT, LabelledRows, left_out_notes

NO_ROWS = "the table has no rows"


class CheckedAccounts(NamedTuple):
    """A canonical account table.

    Attributes:
        accounts: The rows, without those that their label leaves out.
        notes: Columns of the source that are not used, and a label whose meaning is a guess.
        used: For each row of the source whether it is among the accounts.
        left_out: A sentence for each label whose rows are not among them.
    """

    accounts: pd.DataFrame
    notes: list[str]
    used: NDArray[np.bool_]
    left_out: list[str]


def check_accounts(frame: pd.DataFrame, schema: AccountSchema, *, subject: str, labelled: bool) -> CheckedAccounts:
    """Check a table against its schema and convert it to canonical form.

    Args:
        frame: Account table as it was read, one row per account.
        schema: Schema of the table.
        subject: Name of the table in messages.
        labelled: Whether the label is required; if not, a label column is ignored.

    Returns:
        The canonical table in the order of the source's rows, and what of the source is not in it.

    Raises:
        AccountsError: Lists every fault with its column, a few example values (never ids) and their rows, counted
            from 1 without the header.
    """
    faults, notes = check_columns([str(name) for name in frame.columns], schema, subject=subject, labelled=labelled)
    if not len(frame):
        faults.append(NO_ROWS)
    if faults:
        raise AccountsError(subject, faults)

    accounts, found = check_rows(frame, schema)
    found += repeated(_again(accounts[schema.id]), schema.id)
    faults = sentences(found, schema)
    used, left_out = np.ones(len(accounts), bool), list[str]()
    if labelled:
        name, seen = schema.label.column, LabelledRows()
        accounts[name] = seen.check_batch(accounts, frame[name], schema)
        faults += seen.faults(found, schema)
        notes += [f"{subject}: {note}" for note in seen.guesses(schema)]
        left_out += [f"{subject}: {note}" for note in left_out_notes(seen.left_out, schema)]
        used = accounts[name].to_numpy() != LEFT_OUT
    if faults:
        raise AccountsError(subject, faults)
    return CheckedAccounts(accounts if used.all() else accounts[used], notes, used, left_out)


def check_columns(
    names: Sequence[str], schema: AccountSchema, *, subject: str, labelled: bool
) -> tuple[list[str], list[str]]:
    """Check the column names of a table against its schema; return the faults, and notes on ignored columns."""
    faults = list(_column_faults(names, schema, labelled))
    notes: list[str] = []
    known = schema.known_columns
    spare = [name for name in names if name not in known]
    if spare and schema.strict:
        faults.append(
            f"columns that are not in the schema: {', '.join(spare)}; name them in accounts.left_out, or set accounts.strict "
            "to false"
        )
    elif spare:
        notes.append(f"{subject}: ignored columns that are not in the schema: {', '.join(spare)}")
    if not labelled and schema.label.column in names:
        notes.append(f"{subject}: the label '{schema.label.column}' is not used here")
    return faults, notes


def check_rows(frame: pd.DataFrame, schema: AccountSchema, first_row: int = 1) -> tuple[pd.DataFrame, list[Fault]]:
    """Check rows that have all columns, each row by itself, and convert them to canonical form.

    Args:
        frame: Some or all rows of an account table.
        schema: Schema of the table.
        first_row: Number of the first of these rows in the table.

    Returns:
        The rows without the label, and their faults. Repeated ids are not looked for.
    """
    found: list[Fault] = []

    def fault(
        column: str,
        reason: str,
        broken: NDArray[np.bool_],
        values: pd.Series | None,
        advice: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        if broken.any():
            found.append(Fault.of(column, reason, broken, values, first_row, advice.get(reason, "")))

    ids, wrong = text_of(frame[schema.id])
    columns: dict[str, pd.Series] = {schema.id: ids}
    fault(schema.id, NOT_ONE_VALUE, wrong, None, ID_ADVICE)
    fault(schema.id, EMPTY, ids.isna().to_numpy() & ~wrong, None)
    for item in schema.numeric:
        values, wrong = as_numbers(frame[item.column], schema.missing)
        columns[item.column] = values
        numbers = values.to_numpy()
        if wrong.any():
            texts, several = text_of(frame[item.column])
            fault(item.column, NOT_ONE_VALUE, several, None, NUMERIC_ADVICE)
            # Text in a numeric column may be a shifted row: an id must not reach the log.
            shown = texts.mask(texts.isin(ids))
            wrong &= ~several
            hidden = wrong & texts.str.fullmatch(HIDDEN_NUMBER).fillna(False).to_numpy(bool)
            fault(item.column, HIDDEN, hidden, None, NUMERIC_ADVICE)
            fault(item.column, NOT_A_NUMBER, wrong & ~hidden, shown, NUMERIC_ADVICE)
        fault(item.column, NOT_FINITE, np.isinf(numbers), values, NUMERIC_ADVICE)
        fault(item.column, TOO_LARGE, (np.abs(numbers) > LARGEST_NUMBER) & np.isfinite(numbers), values, NUMERIC_ADVICE)
        with np.errstate(invalid="ignore"):
            if item.integer:
                fault(
                    item.column,
                    NOT_WHOLE,
                    np.isfinite(numbers) & (numbers != np.floor(numbers)),
                    values,
                    NUMERIC_ADVICE,
                )
            if item.minimum is not None:
                fault(
                    item.column,
                    below(item.minimum),
                    (numbers < item.minimum) & np.isfinite(numbers),
                    values,
                    NUMERIC_ADVICE,
                )
            if item.maximum is not None:
                fault(
                    item.column,
                    above(item.maximum),
                    (numbers > item.maximum) & np.isfinite(numbers),
                    values,
                    NUMERIC_ADVICE,
                )
    if schema.dates:
        since, faults = since_dates(frame, schema, first_row)
        columns |= since
        found += faults
    for name in schema.categorical:
        columns[name], wrong = text_of(frame[name], schema.missing_text)
        fault(name, NOT_ONE_VALUE, wrong, None, CATEGORICAL_ADVICE)
    for name in schema.carry:
        if name in frame.columns:  # a training table may lack it
            columns[name], wrong = as_written(frame[name])
            fault(name, NOT_ONE_VALUE, wrong, None, CARRIED_ADVICE)
    for rule in schema.not_above:
        low, high = columns[rule.column].to_numpy(), columns[rule.limit].to_numpy()
        with np.errstate(invalid="ignore"):
            broken = (low > high) & np.isfinite(low)
        fault(rule.column, f"above {rule.limit}", broken, columns[rule.column])
    return pd.DataFrame(columns), found


def _column_faults(names: Sequence[str], schema: AccountSchema, labelled: bool) -> Iterable[str]:
    needed = [*schema.source_columns, *([schema.label.column] if labelled else schema.carry)]
    missing = [name for name in needed if name not in names]
    if missing:
        remedy = (
            "; accounts.id names the column that identifies an account: set it to one of these, or add a column with a number to "
            "the table"
            if schema.id in missing
            else "; accounts.carry names columns that the retention list shows: leave out those that the table does not have"
            if set(missing) & set(schema.carry)
            else ""
        )
        yield f"missing columns: {', '.join(missing)}; the table has: {', '.join(names) or 'none'}{remedy}"
    for item in schema.dates:
        if item.feature in names:
            yield f"{item.feature}: is the name of the time since {item.column}, which accounts.dates names; rename the column"
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        yield f"columns that occur more than once: {', '.join(twice)}; rename or remove all but one of each"


def _again(ids: pd.Series) -> NDArray[np.bool_]:
    """Return for each id whether it occurred before."""
    return (ids.duplicated() & ids.notna()).to_numpy(bool)
