"""Candidates for the retention list: the best accounts so far, while a table is read in batches."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn.errors import ChurnError
from churn.retention.order import best_first, ranks_within

# Most different values of `decision.capacity_by`: of each, the accounts to act on are kept in memory.
MOST_GROUPS = 10_000
# Names of the columns that are added to the account columns of candidates for the list.
PROBABILITY, VALUE, EXPECTED = "(probability)", "(value)", "(expected profit)"


class Candidates:
    """The accounts with the highest expected profit among those added so far, in the order of the table."""

    def __init__(self, size: int, id_column: str, groups: tuple[str, int] | None = None) -> None:
        """Declare what to keep.

        Args:
            size: Number of accounts to keep.
            id_column: Column of the ids.
            groups: A column, and the number of accounts to keep of each of its values too, if these pay.
        """
        self._size, self._id, self._groups = size, id_column, groups
        self._parts: list[pd.DataFrame] = []
        self._count = self._kept = 0
        self._least = -np.inf  # lowest expected profit among the best, once `size` accounts are kept

    def add(
        self,
        accounts: pd.DataFrame,
        probability: NDArray[np.float32],
        value: NDArray[np.float64],
        expected: NDArray[np.float64],
    ) -> None:
        """Add accounts: n canonical rows, and arrays of shape (n,)."""
        part = accounts.copy(deep=False)
        part[PROBABILITY], part[VALUE], part[EXPECTED] = probability, value, expected
        if self._least > -np.inf:
            part = part[expected >= self._least]
        self._parts.append(part)
        self._count += len(part)
        if self._count > 2 * max(self._size, self._kept):
            self._keep_best()

    def _keep_best(self) -> None:
        rows = pd.concat(self._parts, ignore_index=True)
        expected = rows[EXPECTED].to_numpy()
        ranked = best_first(expected, rows[PROBABILITY], rows[self._id])
        order = ranked[: self._size]
        if self._groups is not None:
            column, size = self._groups
            paying = ranked[expected[ranked] > 0]
            values = rows[column].to_numpy(object)[paying]
            check_groups(column, len(pd.unique(values)))
            order = np.union1d(order, paying[ranks_within(values) < size])
        elif len(order) == self._size:
            self._least = float(expected[order[-1]])
        self._parts = [rows.iloc[np.sort(order)]]
        self._count = self._kept = len(order)

    def best(self) -> pd.DataFrame:
        """Return the best accounts, with their probability, value and expected profit."""
        self._keep_best()
        return self._parts[0].reset_index(drop=True)


def check_groups(column: str, groups: int) -> None:
    """Check the number of different values of ``decision.capacity_by``.

    Raises:
        ChurnError: If there are more than `MOST_GROUPS`.
    """
    if groups > MOST_GROUPS:
        raise ChurnError(
            f"decision.capacity_by = '{column}': the column has {groups:,} different values, at most {MOST_GROUPS:,} are "
            "possible; name a column of owners or teams"
        )
