import itertools
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from churn.config import Decision, Profit
from churn.errors import ChurnError
from churn.retention import maximum_profit, profit
from tests.conftest import rng
from tests.retention import oracles
from tests.retention.simulated import COSTS, SEEDS, simulated

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
