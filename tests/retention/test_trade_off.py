"""What calls bring by several policies and thresholds."""

import numpy as np
import pytest

from churn.config import Profit
from churn.errors import ChurnError
from churn.retention.profit import profit_policies
from churn.retention.trade_off import trade_off
from tests.conftest import rng

PROFIT = Profit(contact_cost=5, offer_cost=20, save_rate=0.4, account_value=300)


def test_the_profits_are_those_of_the_policies() -> None:
    chance = rng(1).beta(1, 5, 2000)
    labels = rng(2).random(2000) < chance
    value = rng(3).uniform(50, 900, 2000)
    found = trade_off(labels, chance, value, PROFIT, 0.35)
    known = profit_policies(labels, chance, value, PROFIT, 0.35)
    assert found.policies["profit"].per_account == pytest.approx(known["expected_profit"])
    assert found.policies["threshold"].per_account == pytest.approx(known["profit_threshold"])
    assert found.policies["everybody"].per_account == pytest.approx(known["profit_all"])
    assert found.policies["nobody"].profit == 0
    (used,) = [outcome for at, outcome in found.thresholds if at == 0.35]
    assert used == found.policies["threshold"]
    thresholds = [at for at, _ in found.thresholds]
    assert thresholds == sorted(thresholds)
    called = [outcome.called for _, outcome in found.thresholds]
    assert called == sorted(called, reverse=True)
    for at, outcome in found.thresholds:
        acted = chance >= at
        assert (outcome.called, outcome.churners) == (acted.sum(), labels[acted].sum())
        assert outcome.profit == pytest.approx(outcome.per_account * 2000)


def test_accounts_at_random_bring_what_a_simulation_does() -> None:
    chance = rng(1).beta(1, 5, 500)
    labels = (rng(2).random(500) < chance).astype(float)
    found = trade_off(labels, chance, 300.0, PROFIT, 0.5)
    number = int(found.policies["profit"].called)
    gain = np.where(labels == 1, 0.4 * (300 - 20) - 5, -25.0)
    random = rng(4)
    made = [gain[random.permutation(500)[:number]].sum() for _ in range(4000)]
    error = np.std(made) / np.sqrt(len(made))
    assert abs(np.mean(made) - found.policies["random"].profit) < 4 * error


def test_thresholds_from_which_nobody_is_called() -> None:
    found = trade_off([0, 1, 0], [0.02, 0.12, 0.04], 300.0, PROFIT, 0.5)
    assert [at for at, _ in found.thresholds] == [0.05, 0.1, 0.5]
    assert found.thresholds[-1][1].precision is None
    assert trade_off([0, 0], [0.1, 0.2], 300.0, PROFIT, 0.5).policies["everybody"].found is None
    with pytest.raises(ChurnError):
        trade_off([], [], 300.0, PROFIT, 0.5)
