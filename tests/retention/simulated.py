"""Outcomes, scores and values that belong together, for the tests of profit."""

from numpy.typing import NDArray

from churn.config import Profit
from tests.conftest import rng

COSTS = Profit(contact_cost=5, offer_cost=50, save_rate=0.3, account_value=600)
SEEDS = range(5)


def simulated(seed: int, rows: int = 300, digits: int = 16) -> tuple[NDArray, NDArray, NDArray]:
    """Labels, calibrated probabilities and values of some accounts; few digits give many ties."""
    random = rng(seed)
    probability = random.beta(1, 4, rows).round(digits)
    return (random.random(rows) < probability).astype(int), probability, random.lognormal(6, 1, rows).round()
