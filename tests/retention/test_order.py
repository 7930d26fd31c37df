import numpy as np
import pytest

from churn.retention.order import best_first, in_cents
from tests.conftest import rng


def test_by_profit_as_shown_then_by_probability_then_by_id() -> None:
    expected = [1.0, 2.004, 2.001, 2.0, 1.0, -3.0]
    probability = [0.5, 0.1, 0.3, 0.3, 0.5, 0.9]
    ids = ["b", "x", "d", "c", "a", "z"]
    # 2.004, 2.001 and 2.0 are all shown as 2.00.
    assert [ids[at] for at in best_first(expected, probability, ids)] == ["c", "d", "x", "a", "b", "z"]


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_the_rows_does_not_matter(seed: int) -> None:
    random = rng(seed)
    expected, probability = random.normal(size=300).round(1), random.random(300).round(1)
    ids = np.array([f"{number:03}" for number in range(300)])
    order = random.permutation(300)
    mixed = best_first(expected[order], probability[order], ids[order])
    assert ids[order][mixed].tolist() == ids[best_first(expected, probability, ids)].tolist()


def test_no_profit_is_shown_as_minus_zero() -> None:
    assert not np.signbit(in_cents([-0.001, 0.0])).any()
