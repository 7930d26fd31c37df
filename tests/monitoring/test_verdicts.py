"""The verdicts keep their promises, on a few small tables; ``python -m tests.benchmarks.verdicts`` measures the rates."""

import pytest

from churn.config import Booster
from tests.benchmarks import verdicts

# As good as the configured one for what is asked here, in a fraction of the time.
QUICK = {"booster": Booster(n_estimators=40, learning_rate=0.2, max_leaves=4), "folds": 3}


@pytest.mark.slow
def test_a_table_that_has_not_moved_is_healthy() -> None:
    found = {seed: verdicts.unmoved(seed, **QUICK) for seed in range(100, 125)}
    # With the largest rate that is promised, 5 %, more than 5 of 25 would be seen once in 800 times.
    assert sum(map(bool, found.values())) <= 5, found


@pytest.mark.slow
def test_a_drift_and_a_loss_of_quality_are_found() -> None:
    assert all(verdicts.drifted(seed, **QUICK) for seed in range(3))
    assert sum(verdicts.worsened(seed, **QUICK) for seed in range(6)) >= 4


@pytest.mark.slow
def test_the_gate_lets_equals_pass_and_refuses_what_is_damaged() -> None:
    as_good = [verdicts.retrained(1500, seed, "as good", **QUICK).passed for seed in range(10)]
    assert as_good.count(False) <= 3
    assert not any(verdicts.retrained(7000, seed, "damaged", **QUICK).passed for seed in range(2))
    better = [verdicts.retrained(1500, seed, "better", **QUICK) for seed in range(3)]
    assert all(each.passed for each in better if each.gain > 0)
