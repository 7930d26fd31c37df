import itertools
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.stats import beta as beta_distribution

from churn.config import Decision, Profit
from churn.errors import ChurnError
from churn.retention import maximum_profit, profit
from tests.conftest import rng
from tests.retention import oracles

COSTS = Profit(contact_cost=5, offer_cost=50, save_rate=0.3, account_value=600)
SEEDS = range(5)

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


def simulated(seed: int, rows: int = 300, digits: int = 16) -> tuple[NDArray, NDArray, NDArray]:
    """Labels, calibrated probabilities and values of some accounts; few digits give many ties."""
    random = rng(seed)
    probability = random.beta(1, 4, rows).round(digits)
    return (random.random(rows) < probability).astype(int), probability, random.lognormal(6, 1, rows).round()


# --- one account --------------------------------------------------------------------------------------------------


def test_expected_profit_by_hand() -> None:
    # 0.4 * 0.3 * (600 - 50) - 0.6 * 50 - 5 = 66 - 30 - 5
    np.testing.assert_allclose(profit.expected_profit([0.4, 0.0, 1.0], 600, COSTS), [31, -55, 160])
    np.testing.assert_allclose(profit.expected_profit([0.4, 0.4], [600, 50], COSTS), [31, -35])


def test_expected_profit_is_the_mean_of_what_can_happen() -> None:
    for chance, value in itertools.product([0.0, 0.07, 0.5, 1.0], [0.0, 30.0, 50.0, 900.0]):
        saved, lost, stayed = value - 50 - 5, -5, -50 - 5
        mean = chance * (0.3 * saved + 0.7 * lost) + (1 - chance) * stayed
        assert profit.expected_profit(chance, value, COSTS) == pytest.approx(mean)


def test_realised_profit() -> None:
    made = profit.realised_profit([1, 1, 0, 0], [True, False, True, False], [600, 600, 600, 600], COSTS)
    np.testing.assert_allclose(made, [0.3 * 550 - 5, 0, -55, 0])


@pytest.mark.parametrize("seed", SEEDS)
def test_realised_profit_meets_the_expected_one_where_probabilities_are_right(seed: int) -> None:
    labels, probability, _ = simulated(seed, rows=200_000)
    everyone = np.ones(len(labels), dtype=bool)
    realised = profit.realised_profit(labels, everyone, 600, COSTS).mean()
    assert realised == pytest.approx(profit.expected_profit(probability, 600, COSTS).mean(), abs=1)


def test_break_even_by_hand() -> None:
    # (50 + 5) / (0.3 * 550 + 50)
    assert oracles.break_even_probability(600, COSTS) == pytest.approx(55 / 215)
    # (50 + 5) / (0.3 * 200 + 50)
    np.testing.assert_allclose(oracles.break_even_probability([250.0], COSTS), [0.5])


def test_break_even_where_acting_never_pays_or_always_does() -> None:
    assert oracles.break_even_probability([0, 10, 60], COSTS).tolist() == [np.inf] * 3
    nothing_saved = Profit(save_rate=0, offer_cost=50, contact_cost=5)
    assert oracles.break_even_probability(1e9, nothing_saved) == np.inf
    no_costs = Profit(save_rate=0.3, offer_cost=0, contact_cost=0)
    assert oracles.break_even_probability([600, 0], no_costs).tolist() == [0, np.inf]


@pytest.mark.parametrize("seed", SEEDS)
def test_acting_pays_above_the_break_even_and_not_below(seed: int) -> None:
    values = simulated(seed)[2] + 150
    border = oracles.break_even_probability(values, COSTS)
    assert np.isfinite(border).sum() > 200
    np.testing.assert_allclose(profit.expected_profit(border, values, COSTS)[np.isfinite(border)], 0, atol=1e-9)
    assert (profit.expected_profit(np.minimum(border + 1e-6, 1), values, COSTS)[border < 1] > 0).all()
    assert (profit.expected_profit(border - 1e-6, values, COSTS)[np.isfinite(border)] < 0).all()
    assert (profit.expected_profit(1.0, values, COSTS)[np.isinf(border)] <= 0).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_expected_profit_moves_as_it_should(seed: int) -> None:
    _, probability, values = simulated(seed)
    base = profit.expected_profit(probability, values, COSTS)
    assert (profit.expected_profit(np.minimum(probability + 0.1, 1), values, COSTS) > base).all()
    assert (profit.expected_profit(probability, values + 10, COSTS) >= base).all()
    for dearer in ({"contact_cost": 6.0}, {"offer_cost": 51.0}):
        assert (profit.expected_profit(probability, values, COSTS.model_copy(update=dearer)) < base).all()
    assert (oracles.break_even_probability(values + 10, COSTS) <= oracles.break_even_probability(values, COSTS)).all()


# --- values -------------------------------------------------------------------------------------------------------


def test_one_value_for_every_account() -> None:
    values = profit.account_values(pd.DataFrame({"revenue": [1.0, 2.0]}), COSTS)
    assert values.tolist() == [600, 600]
    assert values.dtype == np.float64


@pytest.mark.parametrize("dtype", ["float64", "Float64", "object", "str", "float64[pyarrow]"])
def test_values_from_a_column(dtype: str) -> None:
    accounts = pd.DataFrame({"revenue": pd.array([120.0, None, 0.0], dtype="Float64").astype(dtype)}, index=[7, 3, 5])
    before = accounts.copy()
    values = profit.account_values(accounts, Profit(account_value=600, value_column="revenue"))
    assert values.tolist() == [120, 600, 0]
    assert values.dtype == np.float64
    pd.testing.assert_frame_equal(accounts, before)


@pytest.mark.parametrize("wrong", [-1.0, float("inf"), float("-inf"), "much"])
def test_a_value_that_cannot_be_is_refused(wrong: object) -> None:
    accounts = pd.DataFrame({"revenue": [120.0, wrong, None]})
    with pytest.raises(ChurnError, match=r"^revenue: 1 of 3 accounts .* finite number") as refused:
        profit.account_values(accounts, Profit(value_column="revenue"))
    assert repr(wrong) in str(refused.value)
    assert "profit.value_column" in str(refused.value)


def test_a_value_column_that_is_not_there_is_refused() -> None:
    with pytest.raises(ChurnError, match=r"profit.value_column = 'revenue': no such column; the table has: a, b"):
        profit.account_values(pd.DataFrame({"a": [1], "b": [2]}), Profit(value_column="revenue"))


# --- which accounts -----------------------------------------------------------------------------------------------


def test_the_rules() -> None:
    probability = [0.9, 0.6, 0.3, 0.2]
    values = [100, 600, 600, 5000]
    # Expected: 0.9 * 0.3 * 50 - 5 - 5 = 3.5; 74; 9.5; 0.06 * 4950 - 40 - 5 = 252
    np.testing.assert_allclose(profit.expected_profit(probability, values, COSTS), [3.5, 74, 9.5, 252])

    def chosen(**rule: object) -> list[int]:
        acted = profit.choose(probability, values, COSTS, Decision(**rule), threshold=0.3)
        assert acted.dtype == np.bool_
        return np.flatnonzero(acted).tolist()

    assert chosen(rule="profit") == [0, 1, 2, 3]
    assert chosen(rule="threshold") == [0, 1, 2]
    assert chosen(rule="capacity", capacity=1) == [3]
    assert chosen(rule="capacity", capacity=2) == [1, 3]
    assert chosen(rule="capacity", capacity=100) == [0, 1, 2, 3]


def test_an_account_at_the_break_even_is_left_alone() -> None:
    even = Profit(contact_cost=0.5, offer_cost=0, save_rate=0.5)
    for rule in ("profit", "capacity"):
        assert profit.choose([0.5, 0.75], 2, even, Decision(rule=rule), 0.5).tolist() == [False, True]


def test_capacity_is_not_filled_with_accounts_that_do_not_pay() -> None:
    acted = profit.choose([0.9, 0.01, 0.01], 600, COSTS, Decision(rule="capacity", capacity=3), 0.5)
    assert acted.tolist() == [True, False, False]
    assert not profit.choose([0.1] * 3, 600, COSTS, Decision(rule="capacity"), 0.5).any()


def test_capacity_breaks_ties_as_the_list_does() -> None:
    free_offer = Profit(contact_cost=1, offer_cost=0, save_rate=0.5)
    probability = [0.25, 0.5, 0.25, 0.25]
    values = [800, 400, 800, 800]  # all expect 0.5 * 200 - 1
    for capacity, rows in ((1, [1]), (2, [0, 1]), (3, [0, 1, 2])):
        acted = profit.choose(probability, values, free_offer, Decision(rule="capacity", capacity=capacity), 0.5)
        assert np.flatnonzero(acted).tolist() == rows
    one = Decision(rule="capacity", capacity=2)
    acted = profit.choose(probability, values, free_offer, one, 0.5, ids=["d", "c", "b", "a"])
    assert np.flatnonzero(acted).tolist() == [1, 3]


@pytest.mark.parametrize("seed", SEEDS)
def test_capacity_takes_the_best_and_grows_with_its_size(seed: int) -> None:
    _, probability, values = simulated(seed, digits=1)
    expected = profit.expected_profit(probability, values, COSTS)
    before = np.zeros(len(values), dtype=bool)
    for capacity in (1, 5, 20, 60, 300):
        acted = profit.choose(probability, values, COSTS, Decision(rule="capacity", capacity=capacity), 0.5)
        assert acted.sum() == min(capacity, (expected > 0).sum())
        assert expected[acted].min() >= expected[~acted].max(initial=-np.inf, where=expected[~acted] > 0)
        assert (acted >= before).all()
        before = acted
    assert (before == profit.choose(probability, values, COSTS, Decision(rule="profit"), 0.5)).all()


# --- curve and policies -------------------------------------------------------------------------------------------


def test_curve_by_hand() -> None:
    curve = profit.profit_curve([1, 0, 1, 0], [0.9, 0.8, 0.5, 0.1], 600, COSTS)
    churner, stayer = 160, -55
    np.testing.assert_allclose(curve.share_contacted, [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(curve.profit, np.cumsum([0, churner, stayer, churner, stayer]) / 4)
    assert (curve.max, curve.best_share) == (pytest.approx(265 / 4), 0.75)


def test_curve_ranks_by_expected_profit_and_not_by_probability() -> None:
    curve = profit.profit_curve([0, 1], [0.9, 0.5], [60, 6000], COSTS)
    np.testing.assert_allclose(curve.profit, [0, (0.3 * 5950 - 5) / 2, (0.3 * 5950 - 5 - 55) / 2])


def test_policies_by_hand() -> None:
    made = profit.profit_policies([1, 0, 1, 0], [0.9, 0.8, 0.5, 0.1], 600, COSTS, threshold=0.6)
    assert made == {
        "expected_profit": pytest.approx(265 / 4),
        "profit_all": pytest.approx(210 / 4),
        "profit_none": 0.0,
        "profit_threshold": pytest.approx(105 / 4),
        "profit_best": pytest.approx(265 / 4),
    }


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("digits", [1, 16])
def test_policies_and_curve_belong_together(seed: int, digits: int) -> None:
    labels, probability, values = simulated(seed, digits=digits)
    curve = profit.profit_curve(labels, probability, values, COSTS)
    made = profit.profit_policies(labels, probability, values, COSTS, threshold=0.5)
    assert curve.share_contacted[[0, -1]].tolist() == [0, 1]
    assert (np.diff(curve.share_contacted) > 0).all()
    assert made["profit_none"] == curve.profit[0] == 0
    assert made["profit_all"] == pytest.approx(curve.profit[-1])
    assert made["profit_best"] == curve.max == curve.profit.max()
    assert curve.best_share == curve.share_contacted[curve.profit.argmax()]
    at_cut = (profit.expected_profit(probability, values, COSTS) > 0).mean()
    position = np.abs(curve.share_contacted - at_cut).argmin()
    assert curve.share_contacted[position] == pytest.approx(at_cut)
    assert made["expected_profit"] == pytest.approx(curve.profit[position])
    # Both are sums of the same profits in another order.
    assert made["profit_best"] >= max(made["expected_profit"], made["profit_all"], 0) - 1e-9


@pytest.mark.parametrize("seed", SEEDS)
def test_the_expected_profit_rule_beats_the_others_where_probabilities_are_right(seed: int) -> None:
    labels, probability, values = simulated(seed, rows=50_000)
    made = profit.profit_policies(labels, probability, values, COSTS, threshold=0.5)
    assert made["expected_profit"] > max(made["profit_all"], made["profit_threshold"], 0)
    assert made["expected_profit"] > 0.98 * made["profit_best"]


def test_a_cut_at_the_break_even_is_the_threshold_policy_where_values_are_equal() -> None:
    labels, probability, _ = simulated(0)
    border = float(oracles.break_even_probability(600, COSTS))
    made = profit.profit_policies(labels, probability, 600, COSTS, threshold=border)
    assert made["profit_threshold"] == pytest.approx(made["expected_profit"])


# --- maximum profit measures --------------------------------------------------------------------------------------


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


# --- all of them --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_the_order_of_the_rows_does_not_matter(seed: int) -> None:
    labels, scores, values = simulated(seed, digits=1)
    order = rng(seed).permutation(len(labels))
    shuffled = labels[order], scores[order], values[order]
    for measure in (oracles.maximum_profit, maximum_profit.expected_maximum_profit):
        assert measure(labels, scores) == pytest.approx(measure(*shuffled[:2]), abs=1e-9)
    b2b = oracles.expected_maximum_profit_b2b
    assert b2b(labels, scores, values) == pytest.approx(b2b(*shuffled), abs=1e-9)
    policies = profit.profit_policies
    assert policies(labels, scores, values, COSTS, 0.5) == pytest.approx(policies(*shuffled, COSTS, 0.5), abs=1e-9)
    curve, again = (
        profit.profit_curve(labels, scores, 600, COSTS),
        profit.profit_curve(*shuffled[:2], 600, COSTS),
    )
    np.testing.assert_allclose(curve.share_contacted, again.share_contacted)
    np.testing.assert_allclose(curve.profit, again.profit, atol=1e-9)


@pytest.mark.parametrize(("labels", "scores"), [([], []), ([0, 1], [0.5]), (1, 0.5), ([[0, 1]], [[0.5, 0.5]])])
def test_columns_that_do_not_belong_together_are_refused(labels: object, scores: object) -> None:
    for refused in (
        lambda: oracles.maximum_profit(labels, scores),
        lambda: maximum_profit.expected_maximum_profit(labels, scores),
        lambda: oracles.expected_maximum_profit_b2b(labels, scores, 600),
        lambda: profit.profit_curve(labels, scores, 600, COSTS),
        lambda: profit.profit_policies(labels, scores, 600, COSTS, 0.5),
    ):
        with pytest.raises(ChurnError, match="profit needs labels, probabilities and values of the same accounts"):
            refused()


@pytest.mark.e2e
def test_importing_it_does_not_import_scipy() -> None:
    heavy = "{'scipy', 'sklearn'}"
    code = f"import sys, churn.retention.profit; assert not any(name.split('.')[0] in {heavy} for name in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
