"""Columns that give the answer away, and accounts that are in the training and in the test rows.

A column leaks when it is written after the outcome, or because of it: a date of cancellation, a closing balance, a
status that the billing system sets when an account leaves. A model that learns from it looks perfect at training and
is useless afterwards, because the column is empty or wrong when an account is to be scored (Kaufman et al. 2012,
doi:10.1145/2382577.2382579). What no honest column of an account table does is tell the outcome by itself, so that is
what is looked for here, one column at a time.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from churn.config import AccountSchema, Leakage
from churn.errors import FaultsError
from churn.metrics.ranking import roc_auc_of_counts
from churn.tables import quoted

# A category's churn rate counts as much as this many rows of the average churn rate, so that small ones say little.
SMOOTHING_ROWS = 10.0
# Standard errors above chance that a ROC AUC must be. Under this, a handful of churned rows settle nothing: any
# column of numbers separates one churned row from fifty others in 4% of the cases.
STANDARD_ERRORS = 3.5
LEFT_OUT = "accounts.left_out if it is known only after an account has left"
ALLOWED = "training.leakage.allowed if it is known when accounts are scored"


class LeakageError(FaultsError):
    """Columns that give the answer away, or accounts that stand on both sides of the split."""


class _Column(NamedTuple):
    """Rows of each value of a column by outcome; where numbers, in rising order; arrays have one entry a value.

    Attributes:
        churned: Churned rows with each value; the last entry is those without a value.
        stayed: The same of the rows that stayed.
        known: The values, without the missing one.
        codes: Position of each row's value in the arrays above, shape (n,).
    """

    churned: NDArray[np.float64]
    stayed: NDArray[np.float64]
    known: pd.Index
    codes: NDArray[np.int64]


def check_leakage(
    accounts: pd.DataFrame,
    schema: AccountSchema,
    leakage: Leakage,
    *,
    test_accounts: pd.DataFrame | None = None,
    subject: str = "training accounts",
) -> None:
    """Refuse accounts that give the answer away.

    Args:
        accounts: Canonical labelled table, see `find_leaks`.
        schema: What each column is.
        leakage: The limit, and the columns that may be above it.
        test_accounts: Accounts set aside to test the model, which must be others.
        subject: What the table is called in the message.

    Raises:
        LeakageError: Lists every leak.
    """
    leaks = find_leaks(accounts, schema, leakage, test_accounts=test_accounts)
    if leaks:
        raise LeakageError(subject, leaks)


def find_leaks(
    accounts: pd.DataFrame, schema: AccountSchema, leakage: Leakage, *, test_accounts: pd.DataFrame | None = None
) -> list[str]:
    """Columns that tell the outcome by themselves, one sentence each.

    Looked at are the columns that a model would use. Three things make a column a leak:

    - A number by whose order alone the ROC AUC, in either direction, reaches the limit. Missing values stand below
      all others, and then above them.
    - A category whose churn rate alone does. The rate that a row is judged by comes from the other half of the rows,
      smoothed towards the average; the halves are every other churned row and every other row that stayed, in the
      order of the table. A category that the other half lacks has the average rate. So a column of ids or of free
      text has a ROC AUC near 0.5 and raises no alarm, and a reason for leaving raises one however many there are.
    - One single value, or having none, that does. This finds the code that stands in all churned rows and in no
      other, wherever it lies among the numbers.

    A ROC AUC counts only where it is `STANDARD_ERRORS` above chance, by the standard error of the Mann-Whitney
    statistic without ties. No column of a table with fewer than five churned rows, or five that stayed, is that sure.

    Args:
        accounts: Canonical labelled table, as `churn.tables.checks.check_accounts` gives it; n rows.
        schema: What each column is.
        leakage: The limit, and the columns that may be above it.
        test_accounts: Accounts set aside to test the model; ids that are in both tables are a leak as well.

    Returns:
        Sentences without a full stop, in the order of the columns in the roles; none where nothing leaks or the label
        holds one class only. Ids are never in them.
    """
    found = [] if test_accounts is None else list(_shared_rows(accounts, test_accounts, schema))
    labels = accounts[schema.label.column].to_numpy(dtype=np.int64)
    churned, stayed = int(labels.sum()), int(len(labels) - labels.sum())
    if not churned or not stayed:
        return found
    least = 0.5 + STANDARD_ERRORS * np.sqrt((churned + stayed + 1) / (12.0 * churned * stayed))
    limit = max(leakage.roc_auc_limit, float(least))
    half = _halves(labels)
    for name in (*schema.numeric_names, *schema.categorical):
        if name in leakage.allowed:
            continue
        numeric = name in schema.numeric_names
        column = _counted(accounts[name], labels, numeric)
        said, roc_auc = _single_value(column)
        if roc_auc < limit:
            said = "tells the outcome by itself"
            roc_auc = _by_order(column) if numeric else _by_churn_rate(column, labels, half)
        if roc_auc >= limit:
            found.append(
                f"{name}: {said} (ROC AUC {_rounded_down(roc_auc)} alone, limit {leakage.roc_auc_limit:g}); "
                f"name it in {LEFT_OUT}, or in {ALLOWED}"
            )
    return found


def shared_ids(train_ids: ArrayLike, test_ids: ArrayLike) -> list[str]:
    """Ids that are among the training and among the test rows, each once, in the order of the test rows."""
    import pyarrow as pa
    import pyarrow.compute as pc

    train, test = (
        pa.array(pd.Series(ids, dtype="str").dropna().unique(), type=pa.large_string(), from_pandas=True)
        for ids in (train_ids, test_ids)
    )
    return [str(value) for value in test.filter(pc.is_in(test, value_set=train)).to_pylist()]


def _shared_rows(train: pd.DataFrame, test: pd.DataFrame, schema: AccountSchema) -> Iterable[str]:
    shared = len(shared_ids(train[schema.id], test[schema.id]))
    if shared:
        yield (
            f"{schema.id}: {shared:,} of {len(test):,} test accounts {'is' if shared == 1 else 'are'} among the training "
            "accounts; give each account one row and run the pipeline feature_engineering again"
        )


def _halves(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """0 or 1 for each row, by turns among the churned rows and among those that stayed, shape (n,)."""
    churned = labels == 1
    half = np.empty(len(labels), dtype=np.int64)
    half[churned] = np.arange(churned.sum()) % 2
    half[~churned] = np.arange((~churned).sum()) % 2
    return half


def _counted(series: pd.Series, labels: NDArray[np.int64], numeric: bool) -> _Column:
    codes, values = pd.factorize(series, sort=numeric)
    codes = np.where(codes < 0, len(values), codes).astype(np.int64)
    counts = np.bincount(2 * codes + labels, minlength=2 * (len(values) + 1)).reshape(-1, 2).astype(np.float64)
    return _Column(churned=counts[:, 1], stayed=counts[:, 0], known=pd.Index(values), codes=codes)


def _single_value(column: _Column) -> tuple[str, float]:
    """What the most telling single value does, in words, and its ROC AUC."""
    of_churned, of_stayed = column.churned / column.churned.sum(), column.stayed / column.stayed.sum()
    gap = of_churned - of_stayed
    at = int(np.argmax(np.abs(gap)))
    value = "no value" if at == len(column.known) else f"the value {quoted(column.known[at])}"
    who, others = ("churned accounts", "that stayed") if gap[at] > 0 else ("accounts that stayed", "that churned")
    share = max(of_churned[at], of_stayed[at])
    rest = min(column.churned[at], column.stayed[at])
    all_of = "all" if share == 1 else f"{_percent_down(share)} of the"
    none_of = f"no account {others}" if rest == 0 else f"{rest:,.0f} {others}"
    return f"has {value} in {all_of} {who} and in {none_of}", float(0.5 + abs(gap[at]) / 2)


def _by_order(column: _Column) -> float:
    """ROC AUC of the order of the numbers in the better direction, missing values last or first, whichever tells more."""
    last = float(roc_auc_of_counts(column.churned, column.stayed))
    first = float(roc_auc_of_counts(np.roll(column.churned, 1), np.roll(column.stayed, 1)))
    return max(last, 1 - last, first, 1 - first)


def _by_churn_rate(column: _Column, labels: NDArray[np.int64], half: NDArray[np.int64]) -> float:
    """ROC AUC of the smoothed churn rate that a row's category has in the other half of the rows."""
    size = len(column.churned)
    # Axes: category, half, outcome.
    counts = np.bincount(4 * column.codes + 2 * half + labels, minlength=4 * size).reshape(size, 2, 2)
    average = labels.mean()
    other = counts[:, ::-1, :]
    rate = (other[:, :, 1] + SMOOTHING_ROWS * average) / (other.sum(axis=2) + SMOOTHING_ROWS)
    _, step = np.unique(rate.ravel(), return_inverse=True)
    churned = np.bincount(step, weights=counts[:, :, 1].ravel()).astype(np.float64)
    stayed = np.bincount(step, weights=counts[:, :, 0].ravel()).astype(np.float64)
    return float(roc_auc_of_counts(churned, stayed))


def _rounded_down(roc_auc: float) -> str:
    # 1.000 is said of a perfect one only.
    return f"{np.floor(roc_auc * 1000) / 1000:.3f}"


def _percent_down(share: float) -> str:
    return f"{np.floor(share * 1000) / 10:.1f}%"
