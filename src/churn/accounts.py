"""What an account table is: the roles of its columns, and whether a table keeps to them.

Whatever the source, the rest of the project sees the *canonical* table: the id and the categories as text, the
numeric columns as float64 with nan where missing, the label as 0 and 1, and no other column.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn.errors import AccountsError
from churn.parameters import Accounts

MAX_EXAMPLES = 3
MAX_EXAMPLE_LENGTH = 40


class CheckedAccounts(NamedTuple):
    """A canonical account table, and notes on what was ignored in the source."""

    accounts: pd.DataFrame
    notes: list[str]


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
    faults = list(_column_faults(frame, roles, labelled))
    notes: list[str] = []
    spare = _without_role(frame, roles)
    if spare and roles.strict:
        faults.append(
            f"columns without a role: {', '.join(spare)}; name them in accounts.left_out, or set accounts.strict to false"
        )
    elif spare:
        notes.append(f"{subject}: ignored columns without a role: {', '.join(spare)}")
    if not labelled and roles.label.column in frame.columns:
        notes.append(f"{subject}: the label '{roles.label.column}' is not used here")
    if not len(frame):
        faults.append("the table has no rows")
    if faults:
        raise AccountsError(subject, faults)

    ids = as_text(frame[roles.id])
    columns: dict[str, pd.Series] = {roles.id: ids}
    faults += _id_faults(ids, roles.id)
    for item in roles.numeric:
        values, wrong = as_numbers(frame[item.column])
        columns[item.column] = values
        numbers = values.to_numpy()
        faults += _value_faults(item.column, "not a number", wrong, frame[item.column], ids)
        faults += _value_faults(item.column, "not finite", np.isinf(numbers), values)
        with np.errstate(invalid="ignore"):
            if item.integer:
                broken = np.isfinite(numbers) & (numbers != np.floor(numbers))
                faults += _value_faults(item.column, "not a whole number", broken, values)
            if item.minimum is not None:
                broken = (numbers < item.minimum) & np.isfinite(numbers)
                faults += _value_faults(item.column, f"below the minimum of {item.minimum:g}", broken, values)
            if item.maximum is not None:
                broken = (numbers > item.maximum) & np.isfinite(numbers)
                faults += _value_faults(item.column, f"above the maximum of {item.maximum:g}", broken, values)
        if labelled and not wrong.any() and np.isnan(numbers).all():
            faults.append(f"{item.column}: has no value at all; take it out of accounts.numeric")
    for name in roles.categorical:
        columns[name] = as_text(frame[name])
        if labelled and columns[name].isna().all():
            faults.append(f"{name}: has no value at all; take it out of accounts.categorical")
    for rule in roles.not_above:
        low, high = columns[rule.column].to_numpy(), columns[rule.limit].to_numpy()
        with np.errstate(invalid="ignore"):
            faults += _value_faults(
                rule.column, f"above {rule.limit}", (low > high) & np.isfinite(low), columns[rule.column]
            )
    if labelled:
        label, label_faults = _as_label(frame[roles.label.column], roles)
        columns[roles.label.column] = label
        faults += label_faults
    if faults:
        raise AccountsError(subject, faults)
    return CheckedAccounts(pd.DataFrame(columns), notes)


def check_outcomes(frame: pd.DataFrame, roles: Accounts) -> pd.DataFrame:
    """Check the outcomes of scored accounts, which may cover only some of them.

    Returns:
        The id and ``outcome``: 1 for churned, 0 for stayed, nan where not known yet.

    Raises:
        AccountsError: Lists every fault.
    """
    subject, name = "outcomes of the scored accounts", roles.label.column
    missing = [column for column in (roles.id, name) if column not in frame.columns]
    if missing:
        raise AccountsError(
            subject, [f"missing columns: {', '.join(missing)}; the table has: {', '.join(frame.columns)}"]
        )
    ids = as_text(frame[roles.id])
    text = _label_text(frame[name])
    faults = [*_id_faults(ids, roles.id), *_label_faults(text, roles, classes=(0, 1, 2))]
    if faults:
        raise AccountsError(subject, faults)
    outcome = (text == _label_key(roles)).astype(np.float64).mask(text.isna())
    return pd.DataFrame({roles.id: ids, "outcome": outcome})


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


def _column_faults(frame: pd.DataFrame, roles: Accounts, labelled: bool) -> Iterable[str]:
    needed = [roles.id, *roles.numeric_names, *roles.categorical, *([roles.label.column] if labelled else [])]
    missing = [name for name in needed if name not in frame.columns]
    if missing:
        found = ", ".join(map(str, frame.columns)) or "none"
        yield f"missing columns: {', '.join(missing)}; the table has: {found}"
    twice = sorted({str(name) for name in frame.columns[frame.columns.duplicated()]})
    if twice:
        yield f"columns that occur more than once: {', '.join(twice)}"


def _without_role(frame: pd.DataFrame, roles: Accounts) -> list[str]:
    known = {*roles.text_columns, *roles.numeric_names, *roles.left_out}
    return [str(name) for name in frame.columns if name not in known]


def _id_faults(ids: pd.Series, name: str) -> Iterable[str]:
    empty = ids.isna().to_numpy()
    if empty.any():
        yield f"{name}: {_count(empty)} empty ({_rows(empty)})"
    again = (ids.duplicated() & ids.notna()).to_numpy()
    if again.any():
        yield f"{name}: {_count(again)} a repetition of an earlier id ({_rows(again)}); an account has one row"


def _label_key(roles: Accounts) -> str:
    return roles.label.positive.strip().lower()


def _label_text(series: pd.Series) -> pd.Series:
    return as_text(series).str.strip().str.lower()


def _label_faults(text: pd.Series, roles: Accounts, classes: tuple[int, ...]) -> Iterable[str]:
    name, values = roles.label.column, sorted(text.dropna().unique())
    shown = ", ".join(map(quoted, values[:MAX_EXAMPLES]))
    if len(values) > 2:
        yield f"{name}: holds {len(values)} different values ({shown}, ...), a label has two"
    elif len(values) not in classes:
        yield f"{name}: holds one class only ({shown}); a model needs accounts of both"
    if len(values) > 1 and _label_key(roles) not in values:
        yield f"{name}: accounts.label.positive is {quoted(roles.label.positive)}, which never occurs; it holds {shown}"


def _as_label(series: pd.Series, roles: Accounts) -> tuple[pd.Series, list[str]]:
    text = _label_text(series)
    empty = text.isna().to_numpy()
    faults = []
    if empty.any():
        unknown = f"{roles.label.column}: {_count(empty)} missing ({_rows(empty)})"
        faults.append(f"{unknown}; every training account needs its outcome")
    faults += _label_faults(text, roles, classes=(0, 2))
    return (text == _label_key(roles)).astype(np.int8), faults


def _value_faults(
    column: str, reason: str, broken: NDArray[np.bool_], values: pd.Series, ids: pd.Series | None = None
) -> Iterable[str]:
    if not broken.any():
        return
    samples = values[broken].head(MAX_EXAMPLES)
    # Text in a numeric column may be a shifted row: an id must not reach the log.
    shown = [quoted(value) for value in samples if ids is None or not (ids == str(value)).any()]
    example = f", for example {', '.join(shown)}" if shown else ""
    yield f"{column}: {_count(broken)} {reason}{example} ({_rows(broken)})"


def quoted(value: object) -> str:
    """A value as messages show it: short numbers, text in quotes and cut where it is long."""
    if isinstance(value, float):
        return f"{value:g}"
    text = str(value)
    return repr(text if len(text) <= MAX_EXAMPLE_LENGTH else text[:MAX_EXAMPLE_LENGTH] + "...")


def _count(broken: NDArray[np.bool_]) -> str:
    number = int(broken.sum())
    return f"{number} value{'s are' if number > 1 else ' is'}"


def _rows(broken: NDArray[np.bool_]) -> str:
    rows = np.flatnonzero(broken)[:MAX_EXAMPLES] + 1
    more = ", ..." if broken.sum() > MAX_EXAMPLES else ""
    return f"row{'s' if broken.sum() > 1 else ''} {', '.join(map(str, rows))}{more}"
