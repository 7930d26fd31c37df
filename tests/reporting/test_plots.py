"""What the plots of training say."""

import numpy as np

from churn.config import Profit
from churn.reporting import plots
from tests.conftest import rng

RANDOM = rng(3)
PROBABILITY = RANDOM.beta(1, 4, 300)
LABELS = (RANDOM.random(300) < PROBABILITY).astype(int)


def title(profit: Profit) -> str:
    figure = plots.profit_of_acting(LABELS, PROBABILITY, np.full(300, 600.0), profit, 0.5)
    (axes,) = figure.axes
    return str(axes.get_title(loc="left"))


def test_the_profit_plot_says_if_its_costs_are_examples() -> None:
    assert title(Profit()) == "Profit of acting at example costs"
    own = Profit(contact_cost=1, offer_cost=10, save_rate=0.2, account_value=100)
    assert title(own) == "Profit of acting"
