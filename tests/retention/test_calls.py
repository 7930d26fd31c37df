"""What calls cost and bring, against sums of single accounts."""

from decimal import Decimal

import numpy as np
import pytest

from churn.config import Decision, Profit
from churn.retention.calls import call_plan, total_in_cents
from churn.retention.order import best_first, in_cents, ranks_within
from churn.retention.profit import choose, expected_cost, expected_profit
from tests.conftest import rng

PROFIT = Profit(contact_cost=5, offer_cost=50, save_rate=0.3, account_value=600)


def test_cost_and_profit_add_up_to_what_an_account_brings() -> None:
    chance, value, offer = rng(1).random(500), rng(2).random(500) * 2000, rng(3).random(500) * 90
    brings = chance * PROFIT.save_rate * value
    np.testing.assert_allclose(
        expected_profit(chance, value, PROFIT, offer) + expected_cost(chance, PROFIT, offer), brings
    )
    flat = np.full(500, PROFIT.offer_cost)
    np.testing.assert_array_equal(expected_profit(chance, value, PROFIT), expected_profit(chance, value, PROFIT, flat))


@pytest.mark.parametrize("rows", [1, 9, 10, 1234])
def test_the_table_is_the_sum_of_its_accounts_to_the_cent(rows: int) -> None:
    chance = rng(rows).random(rows).astype(np.float32)
    gain, cost = expected_profit(chance, 600, PROFIT), expected_cost(chance, PROFIT)
    order = best_first(gain, chance, np.arange(rows))
    gain, cost = gain[order], cost[order]
    acted = int(choose(chance, 600, PROFIT, Decision(), 0.5).sum())
    plan = call_plan(gain, cost, acted)
    assert plan.pays == acted
    assert plan.all_pay == (acted == rows)
    assert {acted, rows} - {0} <= {step.calls for step in plan.steps}
    for step in plan.steps:
        cents = [sum(Decimal(str(each)) for each in in_cents(part)[: step.calls]) for part in (gain, cost)]
        assert (Decimal(str(step.profit)), Decimal(str(step.cost))) == tuple(cents)
        assert Decimal(str(step.brings)) == sum(cents)
        assert step.last == in_cents(gain)[step.calls - 1]
    if acted:
        assert max(profit for _, profit in plan.curve) == next(s.profit for s in plan.steps if s.calls == acted)
    assert plan.curve[0] == (0, 0.0)
    assert plan.curve[-1][0] == rows
    assert len(plan.curve) <= 204


def test_no_accounts_have_no_calls() -> None:
    plan = call_plan([], [], 0)
    assert (plan.steps, plan.pays) == ((), 0)
    assert total_in_cents(np.empty(0)) == 0.0


def test_nothing_below_the_minimum_gain_is_chosen() -> None:
    chance = np.array([0.9, 0.5, 0.3, 0.26, 0.2])
    gain = in_cents(expected_profit(chance, 600, PROFIT))
    assert gain.tolist() == [138.5, 52.5, 9.5, 0.9, -12.0]
    for rule, minimum, chosen in (
        ("profit", 0, 4),
        ("profit", 9.5, 3),
        ("profit", 9.51, 2),
        ("capacity", 9.51, 2),
        ("threshold", 0, 5),
        ("threshold", 52.5, 2),
    ):
        decision = Decision(rule=rule, minimum_gain=minimum, capacity=3)
        assert choose(chance, 600, PROFIT, decision, 0.1).sum() == chosen, (rule, minimum)


def test_capacity_is_that_of_each_group() -> None:
    generator = rng(5)
    chance, ids = generator.random(400), np.arange(400)
    groups = generator.choice(np.array(["a", "b", None, float("nan")], dtype=object), 400)
    decision = Decision(rule="capacity", capacity=7, capacity_by="owner")
    chosen = choose(chance, 600, PROFIT, decision, 0.5, ids, groups=groups)
    names = np.array([str(group) if isinstance(group, str) else "none" for group in groups])
    for name in ("a", "b", "none"):
        of_group = names == name
        best = np.flatnonzero(of_group)[np.argsort(-chance[of_group])[:7]]
        assert set(np.flatnonzero(chosen & of_group)) == set(best)
    assert ranks_within(np.array(["a", "b", "a", None, None], dtype=object)).tolist() == [0, 0, 1, 0, 1]
