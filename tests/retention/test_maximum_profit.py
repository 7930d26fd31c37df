"""Measures of the maximum profit: as published, as integrated, and where they meet."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import beta as beta_distribution

from churn.config import Profit
from churn.retention import maximum_profit, profit
from tests.conftest import rng
from tests.retention import oracles
from tests.retention.simulated import COSTS, SEEDS, simulated

# Ten accounts and their EMPC with alpha 6, beta 14, clv 200, offer 10, contact 1: published with the tests of
# proflogit (Stripling et al. 2018, doi:10.1016/j.swevo.2017.10.010), github.com/estripling/proflogit, tests/test_empc.py.
PROFLOGIT_LABELS = [1, 1, 0, 0, 0, 1, 1, 1, 1, 0]
PROFLOGIT_SCORES = [
    0.6125478,
    0.3642710,
    0.4321361,
    0.1402911,
    0.3848959,
    0.2444155,
    0.9706413,
    0.8901728,
    0.7817814,
    0.8687518,
]
PROFLOGIT_VALUES = [1200, 300, 250, 4000, 800, 150, 600, 90, 2200, 500]  # ours, not published


# Docstring example of `empc` in empulse, which gives the measure and the share to target; `empc_score` of its version
# 0.13.1 computes the same.
EMPULSE_LABELS = [0, 1, 0, 1, 0, 1, 0, 1]
EMPULSE_SCORES = [0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.8, 0.9]
EMPULSE_VALUES = [100, 200, 150, 300, 120, 250, 180, 220]  # of the docstring of `empb_score`


@pytest.mark.parametrize(
    ("changes", "published"),
    [
        ({}, 30.3003222629848),
        ({0: 0.287577520124614}, 30.3001182343737),
        ({0: 0.287577520124614, 6: 0.113703411305323}, 29.2002764792561),
    ],
)
def test_empc_is_as_published_with_proflogit(changes: dict[int, float], published: float) -> None:
    scores = [changes.get(row, score) for row, score in enumerate(PROFLOGIT_SCORES)]
    measured = maximum_profit.expected_maximum_profit(
        PROFLOGIT_LABELS, scores, alpha=6, beta=14, clv=200, offer=10, contact=1
    )
    assert measured.profit == pytest.approx(published, abs=1e-12)


@pytest.mark.parametrize(
    ("labels", "scores", "published", "share"),
    [
        ([0, 1], [0, 1], 28.0000000000391, 0.499999999728095),  # perfect
        ([0, 1], [1, 0], 22.5007912244511, 0.9991601018889205),  # upside down
        ([1, 0], [0.5, 0.5], 22.5007912244511, 0.9991601018889205),  # no ranking
    ],
)
def test_empc_of_two_accounts_is_as_published(
    labels: list[int], scores: list[float], published: float, share: float
) -> None:
    # The measure from the tests of proflogit, the share from those of empulse (tests/metrics/test_churn.py).
    measured = maximum_profit.expected_maximum_profit(labels, scores)
    assert measured.profit == pytest.approx(published, abs=1e-12)
    assert measured.share == pytest.approx(share, abs=1e-12)


def test_empc_is_as_published_with_empulse() -> None:
    measured = maximum_profit.expected_maximum_profit(EMPULSE_LABELS, EMPULSE_SCORES)
    assert measured == pytest.approx((23.875593418348124, 0.8743700763487141), abs=1e-12)


def test_mpc_is_as_published_with_empulse() -> None:
    # tests/metrics/test_churn.py of empulse
    assert oracles.maximum_profit([0, 1] * 10, [0, 1] * 10) == pytest.approx((28, 0.5))
    assert oracles.maximum_profit([0, 1] * 10, [1, 0] * 10) == pytest.approx((22.5, 1))
    assert oracles.maximum_profit([0, 1] * 10, [0.5] * 20) == pytest.approx((22.5, 1))


@pytest.mark.parametrize(
    ("labels", "scores", "values", "computed"),
    [
        (EMPULSE_LABELS, EMPULSE_SCORES, EMPULSE_VALUES, (18.61875, 0.875)),
        (PROFLOGIT_LABELS, PROFLOGIT_SCORES, PROFLOGIT_VALUES, (108.14, 0.9)),
        ([0, 1] * 10, [0, 1] * 10, [100, 200] * 10, (21.0, 0.5)),
    ],
)
def test_b2b_measure_goes_to_the_one_of_a_certain_save_rate(
    labels: list[int], scores: list[float], values: list[float], computed: tuple[float, float]
) -> None:
    # Computed with empb_score of empulse 0.13.1, which takes the best cut for the mean save rate.
    certain = oracles.expected_maximum_profit_b2b(labels, scores, values, alpha=6e8, beta=14e8)
    assert certain == pytest.approx(computed, rel=1e-4)
    assert oracles.expected_maximum_profit_b2b(labels, scores, values).profit >= computed[0]


def best_at_each_quantile(
    scores: NDArray, gain: NDArray, cost: NDArray, alpha: float, beta: float
) -> tuple[float, float]:
    """The expected maximum by brute force: the best of all cuts for each of many equally likely save rates."""
    cuts = [np.zeros(len(scores), dtype=bool), *(scores >= score for score in np.unique(scores)[::-1])]
    gains = np.array([gain[cut].sum() for cut in cuts]) / len(scores)
    costs = np.array([cost[cut].sum() for cut in cuts]) / len(scores)
    rates = beta_distribution.ppf((np.arange(10_000) + 0.5) / 10_000, alpha, beta)
    lines = np.outer(rates, gains) - costs
    shares = np.array([cut.mean() for cut in cuts])[lines.argmax(axis=1)]
    return float(lines.max(axis=1).mean()), float(shares.mean())


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("alpha", "beta", "clv", "offer", "contact"),
    [(6, 14, 200, 10, 1), (2, 14, 200, 10, 1), (1, 1, 300, 50, 25), (0.5, 0.5, 100, 40, 0), (6, 14, 50, 60, 1)],
)
def test_empc_agrees_with_numerical_integration(
    seed: int, alpha: float, beta: float, clv: float, offer: float, contact: float
) -> None:
    labels, scores, _ = simulated(seed, rows=150, digits=2 if seed % 2 else 16)
    measured = maximum_profit.expected_maximum_profit(
        labels, scores, alpha=alpha, beta=beta, clv=clv, offer=offer, contact=contact
    )
    integrated = best_at_each_quantile(scores, labels * (clv - offer), (1 - labels) * offer + contact, alpha, beta)
    assert measured == pytest.approx(integrated, abs=1e-3)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("alpha", "beta"), [(6, 14), (1, 1), (20, 5)])
def test_b2b_measure_agrees_with_numerical_integration(seed: int, alpha: float, beta: float) -> None:
    labels, scores, values = simulated(seed, rows=150, digits=2 if seed % 2 else 16)
    measured = oracles.expected_maximum_profit_b2b(
        labels, scores, values, alpha=alpha, beta=beta, offer_share=0.1, contact=15
    )
    integrated = best_at_each_quantile(scores, labels * 0.9 * values, (1 - labels) * 0.1 * values + 15, alpha, beta)
    assert measured.profit == pytest.approx(integrated[0], rel=1e-4, abs=1e-3)
    assert measured.share == pytest.approx(integrated[1], abs=1e-3)


@pytest.mark.parametrize("seed", SEEDS)
def test_b2b_measure_with_equal_values_is_the_empc(seed: int) -> None:
    labels, scores, _ = simulated(seed)
    b2b = oracles.expected_maximum_profit_b2b(labels, scores, 200, alpha=6, beta=14, offer_share=0.05, contact=1)
    assert b2b == pytest.approx(maximum_profit.expected_maximum_profit(labels, scores))


@pytest.mark.parametrize("seed", SEEDS)
def test_expected_maximum_is_at_least_the_maximum_at_the_mean_save_rate(seed: int) -> None:
    labels, scores, _ = simulated(seed)
    maximum = oracles.maximum_profit(labels, scores)
    expected = maximum_profit.expected_maximum_profit(labels, scores)
    certain = maximum_profit.expected_maximum_profit(labels, scores, alpha=6e8, beta=14e8)
    assert expected.profit > maximum.profit
    assert certain.profit == pytest.approx(maximum.profit, abs=1e-3)


@pytest.mark.parametrize("seed", SEEDS)
def test_maximum_profit_is_that_of_the_curve_with_one_value(seed: int) -> None:
    labels, scores, _ = simulated(seed, digits=2)
    curve = profit.profit_curve(labels, scores, 600, COSTS)
    maximum = oracles.maximum_profit(labels, scores, save_rate=0.3, clv=600, offer=50, contact=5)
    assert maximum == pytest.approx((curve.max, curve.best_share))


@pytest.mark.parametrize("seed", SEEDS)
def test_measures_move_as_they_should(seed: int) -> None:
    labels, scores, _ = simulated(seed)
    base = maximum_profit.expected_maximum_profit(labels, scores)
    for better in ({"clv": 220}, {"offer": 8}, {"contact": 0.5}, {"alpha": 7}, {"beta": 12}):
        assert maximum_profit.expected_maximum_profit(labels, scores, **better).profit > base.profit
    assert maximum_profit.expected_maximum_profit(labels, scores / 2 - 3) == base  # only the order counts
    noisy = scores + rng(seed).normal(0, 1, len(scores))
    assert maximum_profit.expected_maximum_profit(labels, noisy).profit < base.profit
    assert maximum_profit.expected_maximum_profit(labels, labels).profit > base.profit


@pytest.mark.parametrize("seed", SEEDS)
def test_perfect_ranking(seed: int) -> None:
    labels, _, values = simulated(seed)
    base_rate = labels.mean()
    # Every churner and nobody else, whenever the save rate is above the contact cost of a churner.
    assert oracles.maximum_profit(labels, labels) == pytest.approx((base_rate * (0.3 * 190 - 1), base_rate))
    assert maximum_profit.expected_maximum_profit(labels, labels) == pytest.approx(
        (base_rate * 56, base_rate), rel=1e-6
    )
    b2b = oracles.expected_maximum_profit_b2b(labels, labels, values, contact=0)
    assert b2b == pytest.approx(((0.3 * 0.95 * values * labels).mean(), base_rate))


def test_a_score_that_says_nothing_is_worth_acting_on_all_or_none() -> None:
    labels = np.repeat([1, 0], [50, 50])
    assert oracles.maximum_profit(labels, np.zeros(100)) == pytest.approx((22.5, 1))
    rare = np.repeat([1, 0], [1, 99])
    assert oracles.maximum_profit(rare, np.zeros(100)) == (0, 0)
    measured = maximum_profit.expected_maximum_profit(rare, np.zeros(100))
    assert measured == (0, 0)


def test_measures_without_any_cost_take_every_churner() -> None:
    labels, scores, values = simulated(1)
    last = (scores >= scores[labels == 1].min()).mean()
    worth = 0.3 * labels.mean()
    assert oracles.maximum_profit(labels, scores, offer=0, contact=0) == pytest.approx((200 * worth, last))
    assert maximum_profit.expected_maximum_profit(labels, scores, offer=0, contact=0) == pytest.approx(
        (200 * worth, last)
    )
    b2b = oracles.expected_maximum_profit_b2b(labels, scores, values, offer_share=0, contact=0)
    assert b2b == pytest.approx((0.3 * (labels * values).mean(), last))


def test_measures_of_accounts_that_all_stay_or_all_leave() -> None:
    assert maximum_profit.expected_maximum_profit([0, 0], [0.2, 0.7]) == (0, 0)
    assert maximum_profit.expected_maximum_profit([1, 1], [0.2, 0.7]) == pytest.approx((56, 1))
    assert oracles.maximum_profit([0, 0], [0.2, 0.7]) == (0, 0)
    assert oracles.maximum_profit([1, 1], [0.2, 0.7]) == pytest.approx((56, 1))


def test_a_save_rate_that_is_certain() -> None:
    assert maximum_profit.save_rate_distribution(Profit()) == pytest.approx((6, 14))
    for save_rate in (0.0, 1.0):
        alpha, beta = maximum_profit.save_rate_distribution(Profit(save_rate=save_rate))
        measured = maximum_profit.expected_maximum_profit(PROFLOGIT_LABELS, PROFLOGIT_SCORES, alpha=alpha, beta=beta)
        assert measured == pytest.approx(
            oracles.maximum_profit(PROFLOGIT_LABELS, PROFLOGIT_SCORES, save_rate=save_rate)
        )
