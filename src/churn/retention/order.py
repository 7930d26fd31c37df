"""The order in which accounts are contacted, used by the list, the capacity rule and the candidates of a scoring run."""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray


def in_cents(expected_profit: ArrayLike) -> NDArray[np.float64]:
    """Return expected profits rounded to 2 decimals, as they are shown and compared, shape (n,)."""
    # Adding 0 turns -0 into 0.
    return np.asarray(np.round(np.asarray(expected_profit, dtype=np.float64), 2) + 0.0)


def best_first(expected_profit: ArrayLike, probability: ArrayLike, ids: ArrayLike) -> NDArray[np.intp]:
    """Return the positions of accounts in the order in which to contact them, shape (n,).

    Ordered by rounded expected profit, then by probability of churn, both largest first, then by id.

    Args:
        expected_profit: Expected profit of acting on each account, in currency, shape (n,).
        probability: Their probabilities of churn, shape (n,).
        ids: Their ids, shape (n,).
    """
    rank_of_id, _ = pd.factorize(np.asarray(ids), sort=True)
    return np.lexsort((rank_of_id, -np.asarray(probability, dtype=np.float64), -in_cents(expected_profit)))


def ranks_within(groups: ArrayLike) -> NDArray[np.intp]:
    """Return for each row the number of earlier rows of the same group, shape (n,); missing values are a group of their own."""
    codes, _ = pd.factorize(np.asarray(groups, dtype=object), use_na_sentinel=False)
    return np.asarray(pd.Series(codes).groupby(codes).cumcount(), dtype=np.intp)
