"""The order in which accounts are called: the one behind the list, the capacity, and the candidates of a scoring run."""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray


def in_cents(expected_profit: ArrayLike) -> NDArray[np.float64]:
    """Expected profits as they are shown and compared, with 2 decimals, shape (n,)."""
    # Adding 0 makes 0 of -0, which would look like a fault.
    return np.asarray(np.round(np.asarray(expected_profit, dtype=np.float64), 2) + 0.0)


def best_first(expected_profit: ArrayLike, probability: ArrayLike, ids: ArrayLike) -> NDArray[np.intp]:
    """Positions of accounts, the first to call first.

    By expected profit as it is shown, largest first, then by probability of churn, largest first, then by id.

    Args:
        expected_profit: What acting on each account is expected to bring, in currency, shape (n,).
        probability: Their probabilities of churn, shape (n,).
        ids: Their ids, shape (n,).
    """
    rank_of_id, _ = pd.factorize(np.asarray(ids), sort=True)
    return np.lexsort((rank_of_id, -np.asarray(probability, dtype=np.float64), -in_cents(expected_profit)))
