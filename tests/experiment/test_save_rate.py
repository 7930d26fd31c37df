"""The measured save rate, and how much of the assumed one is left in it."""

import numpy as np
import pytest

from churn.config import Experiment, Profit
from churn.experiment.always_valid import doubly_robust
from churn.experiment.save_rate import CallEffect, MeasuredRate, measured_rate, profit_in_use, updated_rate


def test_few_outcomes_leave_the_assumption_and_many_replace_it() -> None:
    assumed = updated_rate(Profit(), None)
    assert (assumed.value, assumed.certainty) == (0.3, 20.0)
    rates = [updated_rate(Profit(), MeasuredRate(0.1, error, 1, 1)) for error in (10.0, 0.1, 0.03, 0.003)]
    assert [rate.value for rate in rates] == sorted((rate.value for rate in rates), reverse=True)
    assert rates[0].value == pytest.approx(0.3, abs=0.001)
    assert rates[-1].value == pytest.approx(0.1, abs=0.001)
    assert [rate.certainty for rate in rates] == sorted(rate.certainty for rate in rates)


def test_it_is_the_conjugate_update_where_the_estimate_is_a_share() -> None:
    # 80 of 400 that would have left were kept: Beta(6 + 80, 14 + 320).
    rate = updated_rate(Profit(), MeasuredRate(0.2, float(np.sqrt(0.2 * 0.8 / 400)), 1, 1))
    assert rate.value == pytest.approx(86 / 420, abs=0.002)
    assert rate.certainty == pytest.approx(420, rel=0.1)


@pytest.mark.parametrize("measured", [-3.0, -0.1, 0.0, 1.0, 5.0])
@pytest.mark.parametrize("error", [1e-9, 0.05, 100.0])
def test_it_stays_a_share_whatever_is_measured(measured: float, error: float) -> None:
    rate = updated_rate(Profit(), MeasuredRate(measured, error, 1, 1))
    assert 0 <= rate.low <= rate.value <= rate.high <= 1
    for certain in (0.0, 1.0):
        assert updated_rate(Profit(save_rate=certain), MeasuredRate(measured, error, 1, 1)).value == certain


def test_the_interval_of_the_measured_rate_covers_the_truth() -> None:
    random = np.random.default_rng(3)
    covered = 0
    for _ in range(300):
        score = random.beta(2, 3, 2_000)
        called = random.random(2_000) < 0.8
        churned = random.random(2_000) < score * np.where(called, 0.75, 1)
        terms = doubly_robust(churned, called, 0.8, score, 0.7 * score)
        found = measured_rate(terms.effect, terms.baseline, called)
        covered += abs(found.value - 0.25) < 1.96 * found.error
    assert 0.92 <= covered / 300 <= 0.98
    assert measured_rate([], [], []) is None
    assert measured_rate([0.0, 0.0], [0.0, 0.0], [True, False]) is None


def test_the_measured_rate_is_used_only_where_that_is_wanted() -> None:
    rate = updated_rate(Profit(), MeasuredRate(0.1, 0.02, 900, 100))
    known = CallEffect(
        save_rate=rate, assumed=0.3, measured=0.1, error=0.02, called=900, held_out=100, campaigns=("a", "b")
    )
    profit = Profit(contact_cost=1)
    assert profit_in_use(profit, Experiment(), known) is profit
    assert profit_in_use(profit, Experiment(use=True), None) is profit
    used = profit_in_use(profit, Experiment(use=True), known)
    assert used.save_rate == pytest.approx(rate.value)
    assert used.save_rate_certainty == pytest.approx(rate.certainty)
    assert used.measured
    assert used.save_rate_sentence.startswith(
        "0.11, measured in 2 campaigns with 900 called accounts and 100 kept back"
    )
    assert "save_rate" not in used.examples
    assert profit.save_rate_sentence == "0.30, assumed"
    # Another assumption counts at once.
    other = profit_in_use(Profit(save_rate=0.9, save_rate_certainty=5_000), Experiment(use=True), known)
    assert other.save_rate > 0.8
