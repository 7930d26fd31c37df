"""Detect columns that leak the outcome, and accounts that are in the training and in the test rows.

A column leaks if it is written after the outcome or because of it: a date of cancellation, a closing balance, a status
that the billing system sets when an account leaves. A model that learns from it looks perfect in training and fails
afterwards, because the column is empty or different when accounts are scored (Kaufman et al. 2012,
doi:10.1145/2382577.2382579). A legitimate column of an account table does not predict the outcome almost perfectly by
itself, so each column is tested alone.
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

# Weight of the average churn rate, as a number of rows, in the smoothed churn rate of a category.
SMOOTHING_ROWS = 10.0
# A ROC AUC counts only if it is this many standard errors above chance. With a handful of churned rows a high one proves
# nothing: a column of random numbers separates one churned row from fifty others in 4% of the cases.
STANDARD_ERRORS = 3.5
# Equal rows of churned accounts are copies if there are so many, of at least such a share, and their outcomes agree so often.
TWINS, TWINS_SHARE, TWINS_AGREE = 20, 0.02, 0.95
LEFT_OUT = "accounts.left_out if it is known only after an account has left"
ALLOWED = "training.leakage.allowed if it is known when accounts are scored"


class LeakageError(FaultsError):
    """Columns that leak the outcome, or accounts that are on both sides of the split."""


class _Column(NamedTuple):
    """Counts of the values of a column by outcome; arrays have one entry per value, numbers in rising order.

    Attributes:
        churned: Number of churned rows with each value; the last entry counts missing values.
        stayed: The same for the rows that stayed.
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
    """Raise an error if a column leaks the outcome, or accounts are both in the training and the test rows.

    Args:
        accounts: Canonical labelled table, see `find_leaks`.
        schema: Schema of the table.
        leakage: The limit, and the columns that may exceed it.
        test_accounts: Test rows, which must be of other accounts.
        subject: Name of the table in the message.

    Raises:
        LeakageError: Lists every leak.
    """
    leaks = find_leaks(accounts, schema, leakage, test_accounts=test_accounts)
    if leaks:
        raise LeakageError(subject, leaks)


def find_leaks(
    accounts: pd.DataFrame, schema: AccountSchema, leakage: Leakage, *, test_accounts: pd.DataFrame | None = None
) -> list[str]:
    """Return the columns that predict the outcome by themselves, one sentence each.

    The columns that a model would use are tested. A column leaks if one of three ROC AUCs reaches the limit:

    - That of a numeric column by its order, in either direction, with missing values first or last.
    - That of a categorical column by churn rate. The rate of a row's category is computed on the other half of the rows
      and smoothed towards the average; the halves are every other churned row and every other row that stayed, in the
      order of the table. A category that the other half lacks has the average rate. So a column of ids or of free text
      has a ROC AUC near 0.5, but a column of reasons for leaving is found, however many reasons there are.
    - That of a single value, or of missing values, against all others. This finds a code that only churned rows have,
      wherever it is among the numbers.

    A ROC AUC counts only if it is `STANDARD_ERRORS` standard errors of the Mann-Whitney statistic without ties above
    chance. With fewer than five churned rows, or fewer than five that stayed, no column can reach that.

    Args:
        accounts: Canonical labelled table, see `churn.tables.checks.check_accounts`; n rows.
        schema: Schema of the table.
        leakage: The limit, and the columns that may exceed it.
        test_accounts: Test rows; ids that are in both tables are a leak as well.

    Returns:
        Sentences without a full stop, in the order of the columns in the schema; empty if nothing leaks or the label
        has one class only. They never contain ids.
    """
    found = [] if test_accounts is None else list(_shared_rows(accounts, test_accounts, schema))
    return found + [
        f"{each.column}: {each.said} (ROC AUC {_rounded_down(each.roc_auc)} alone, limit {leakage.roc_auc_limit:g}); "
        f"name it in {LEFT_OUT}, or in {ALLOWED}"
        for each in columns_alone(accounts, schema, leakage)
        if each.leaks and each.column not in leakage.allowed
    ]


class ColumnAlone(NamedTuple):
    """How well a column predicts the outcome by itself.

    Attributes:
        column: Its name.
        said: What about it predicts the outcome.
        roc_auc: The ROC AUC.
        leaks: Whether it reaches the limit.
    """

    column: str
    said: str
    roc_auc: float
    leaks: bool


def columns_alone(accounts: pd.DataFrame, schema: AccountSchema, leakage: Leakage) -> list[ColumnAlone]:
    """Return how well each column that a model would use predicts the outcome by itself, see `find_leaks`.

    Args:
        accounts: Canonical labelled table; n rows.
        schema: Schema of the table.
        leakage: The limit.

    Returns:
        The columns in the order of the schema; none if the label has one class only.
    """
    labels = accounts[schema.label.column].to_numpy(dtype=np.int64)
    churned, stayed = int(labels.sum()), int(len(labels) - labels.sum())
    if not churned or not stayed:
        return []
    least = 0.5 + STANDARD_ERRORS * np.sqrt((churned + stayed + 1) / (12.0 * churned * stayed))
    limit = max(leakage.roc_auc_limit, float(least))
    half = _halves(labels)
    found = []
    for name in (*schema.numeric_names, *schema.categorical):
        numeric = name in schema.numeric_names
        column = _counted(accounts[name], labels, numeric)
        said, roc_auc = _single_value(column)
        if roc_auc < limit:
            said = "predicts the outcome by itself"
            roc_auc = _by_order(column) if numeric else _by_churn_rate(column, labels, half)
        found.append(ColumnAlone(name, said, roc_auc, roc_auc >= limit))
    return found


def shared_ids(train_ids: ArrayLike, test_ids: ArrayLike) -> list[str]:
    """Return the ids that are in the training and in the test rows, each once, in the order of the test rows."""
    import pyarrow as pa
    import pyarrow.compute as pc

    train, test = (
        pa.array(pd.Series(ids, dtype="str").dropna().unique(), type=pa.large_string(), from_pandas=True)
        for ids in (train_ids, test_ids)
    )
    return [str(value) for value in test.filter(pc.is_in(test, value_set=train)).to_pylist()]


def twins_note(train: pd.DataFrame, test: pd.DataFrame, schema: AccountSchema) -> str | None:
    """Return a sentence if the same accounts seem to be in both parts under different ids; None if not.

    Rows that are equal in every column but the id are nothing special in a table of few different values: then some of them
    churned and some did not. Copies of an account have its outcome too.

    Args:
        train: Canonical labelled training rows.
        test: Canonical labelled test rows.
        schema: Schema of the table.
    """
    columns, label = [*schema.numeric_names, *schema.categorical], schema.label.column
    rows = {
        name: pd.util.hash_pandas_object(frame[columns], index=False)
        for name, frame in {"train": train, "test": test}.items()
    }
    churned = test[label].to_numpy() == 1
    rates = train[label].groupby(rows["train"].to_numpy()).mean()
    twins = rates.reindex(rows["test"].to_numpy()[churned]).dropna()
    if len(twins) < max(TWINS, TWINS_SHARE * churned.sum()) or twins.mean() < TWINS_AGREE:
        return None
    return (
        f"{len(twins):,} of {churned.sum():,} churned test rows equal a training row in every column but {schema.id}, and "
        f"{_percent_down(float(twins.mean()))} of those churned too: the same accounts seem to be in the table under "
        "several ids, so the metrics are better than the model. Give each account one row"
    )


def _shared_rows(train: pd.DataFrame, test: pd.DataFrame, schema: AccountSchema) -> Iterable[str]:
    shared = len(shared_ids(train[schema.id], test[schema.id]))
    if shared:
        yield (
            f"{schema.id}: {shared:,} of {len(test):,} test accounts {'is' if shared == 1 else 'are'} among the training "
            "accounts; give each account one row and run the pipeline feature_engineering again"
        )


def _halves(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return 0 or 1 for each row, alternating among the churned rows and among those that stayed, shape (n,)."""
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
    """Return a description of the single value that separates the outcomes best, and its ROC AUC."""
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
    """Return the ROC AUC of the order of the numbers: the best of both directions, with missing values last or first."""
    last = float(roc_auc_of_counts(column.churned, column.stayed))
    first = float(roc_auc_of_counts(np.roll(column.churned, 1), np.roll(column.stayed, 1)))
    return max(last, 1 - last, first, 1 - first)


def _by_churn_rate(column: _Column, labels: NDArray[np.int64], half: NDArray[np.int64]) -> float:
    """Return the ROC AUC of the smoothed churn rate of a row's category in the other half of the rows."""
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
    # Rounded down, so that only a perfect ROC AUC is shown as 1.000.
    return f"{np.floor(roc_auc * 1000) / 1000:.3f}"


def _percent_down(share: float) -> str:
    return f"{np.floor(share * 1000) / 10:.1f}%"
