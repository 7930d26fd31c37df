"""How many calls are worth making: what the first k accounts of the retention list cost and bring."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from churn.retention.order import in_cents

# Most points of the curve that a page draws.
POINTS = 200
STEPS = (1, 2, 5)


class Calls(NamedTuple):
    """What calls cost and bring, in currency. Amounts are sums of the amounts of single accounts in cents.

    Attributes:
        calls: Number of accounts called, those with the highest expected profit.
        cost: Expected cost of contacts and offers.
        brings: Expected value of the accounts that the calls keep: cost plus profit.
        profit: Expected profit, the sum of the column ``expected_profit`` of the retention list.
        last: Expected profit of the last of these accounts.
    """

    calls: int
    cost: float
    brings: float
    profit: float
    last: float


class CallPlan(NamedTuple):
    """The table of calls and its curve.

    Attributes:
        steps: Rows of the table: round numbers of calls, the number that pays, and all accounts of the list.
        curve: Calls and expected profit at some of them, rising from (0, 0).
        pays: Number of accounts of the list with an expected profit above 0: the call after them costs more than it brings.
        all_pay: Whether this is the whole list, so that accounts that are not on it may pay too.
    """

    steps: tuple[Calls, ...]
    curve: tuple[tuple[int, float], ...]
    pays: int
    all_pay: bool


def call_plan(expected_profit: ArrayLike, expected_cost: ArrayLike, acted: int) -> CallPlan:
    """Add up profit and cost of calling the accounts of a list, in its order.

    Args:
        expected_profit: Expected profit of acting on each account, in currency, the largest first, shape (n,).
        expected_cost: Their expected costs, see `churn.retention.profit.expected_cost`, shape (n,).
        acted: Number of accounts of the list to act on, which gets a row of its own.
    """
    gain, cost = in_cents(expected_profit), in_cents(expected_cost)
    # Whole cents are added, so that no sum depends on the order.
    profits, costs = (np.cumsum(np.rint(amount * 100).astype(np.int64)) for amount in (gain, cost))
    pays = int((gain > 0).sum())
    marks = sorted({*_round_numbers(len(gain)), acted, pays, len(gain)} - {0})
    steps = tuple(
        Calls(
            mark,
            int(costs[mark - 1]) / 100,
            int(costs[mark - 1] + profits[mark - 1]) / 100,
            int(profits[mark - 1]) / 100,
            float(gain[mark - 1]),
        )
        for mark in marks
        if mark <= len(gain)
    )
    spaced = np.linspace(0, len(gain), POINTS + 1).astype(np.int64)
    places = np.unique([*spaced.tolist(), pays, min(acted, len(gain))])
    sums = np.concatenate([[0], profits])
    curve = tuple((int(place), int(sums[place]) / 100) for place in places)
    return CallPlan(steps, curve, pays, pays == len(gain))


def total_in_cents(amounts: NDArray[np.float64]) -> float:
    """Return the sum of amounts in cents, which does not depend on their order."""
    return int(np.rint(in_cents(amounts) * 100).astype(np.int64).sum()) / 100


def _round_numbers(most: int) -> list[int]:
    """Return 10, 20, 50, 100, 200, ... up to a number."""
    found, scale = [], 10
    while scale <= most:
        found += [step * scale for step in STEPS if step * scale <= most]
        scale *= 10
    return found
