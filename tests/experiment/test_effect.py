"""The effect of the calls: known values, coverage measured by simulation, and the cases that have no answer."""

import numpy as np
import pytest

from churn.config import Experiment
from churn.experiment.always_valid import always_valid_mean, boundary, doubly_robust, enough
from churn.experiment.effect import adjusted_difference, compliers_effect, difference_of_shares, holm, wilson
from churn.experiment.power import campaign_power, power_sentence, too_small
from tests.benchmarks.campaigns import coverage, first_look_errors


def test_newcombes_interval_is_that_of_the_paper():
    # Newcombe (1998), table II, cases (a) and (e) of method 10.
    churned = np.repeat([1, 0, 1, 0], [56, 14, 48, 32])
    called = np.repeat([True, True, False, False], [56, 14, 48, 32])
    assert difference_of_shares(churned, called)[:3] == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)
    few = difference_of_shares([1] * 5 + [0] * 51 + [0] * 29, [True] * 56 + [False] * 29)
    assert few[:3] == pytest.approx((0.0893, -0.0381, 0.1926), abs=5e-5)


def test_a_difference_needs_both_groups():
    for one in ([True, True], [False, False], []):
        found = difference_of_shares([1, 0][: len(one)], one)
        assert np.isnan(found.value)
        assert (found.called, found.held_out) == (sum(one), len(one) - sum(one))
        assert np.isnan(adjusted_difference([1, 0][: len(one)], one, [0.5, 0.5][: len(one)]).low)


def test_equal_outcomes_are_a_difference_of_zero_with_an_interval():
    found = difference_of_shares(np.zeros(200), np.arange(200) < 180)
    assert found.value == 0
    assert found.low < 0 < found.high
    assert wilson(0.0, 20, 0.95) == pytest.approx((0.0, 0.1611), abs=1e-4)


def test_the_adjustment_equals_the_regression_and_a_constant_covariate_changes_nothing():
    random = np.random.default_rng(5)
    score = random.random(400)
    called = random.random(400) < 0.8
    churned = (random.random(400) < score * np.where(called, 0.7, 1)).astype(float)
    centred = score - score.mean()
    design = np.column_stack([np.ones(400), called, centred, centred * called])
    by_hand = np.linalg.lstsq(design, churned, rcond=None)[0][1]
    adjusted = adjusted_difference(churned, called, score)
    assert adjusted.value == pytest.approx(by_hand)
    plain = difference_of_shares(churned, called)
    assert adjusted.high - adjusted.low < plain.high - plain.low
    assert adjusted_difference(churned, called, np.full(400, 0.3)).value == pytest.approx(plain.value)


def test_intervals_of_a_look_cover_a_known_effect_and_the_power_is_what_was_promised():
    measured = coverage(campaigns=400, accounts=1_500, holdout=0.2, save_rate=0.2, seed=11)
    # Binomial limits of 400 campaigns around 0.95.
    assert 0.92 <= measured["share"] <= 0.98
    assert 0.92 <= measured["adjusted"] <= 0.98
    assert 0.92 <= measured["money"] <= 0.98
    assert measured["adjusted_width"] < measured["share_width"]
    assert measured["found"] == pytest.approx(measured["promised_power"], abs=0.07)


def test_the_always_valid_interval_holds_over_26_looks():
    measured = first_look_errors(campaigns=300, accounts=1_500, holdout=0.2, looks=26, seed=12)
    assert measured["covered_at_all_looks"] >= 0.95
    assert measured["said_to_help_without_effect"] <= 0.05
    # What makes it necessary: the interval of one look, looked at every week.
    assert measured["one_look_said_to_help"] > 2 * measured["said_to_help_without_effect"]


def test_the_boundary_is_narrowest_near_its_horizon_and_wider_than_one_look():
    widths = {rows: boundary(rows, 2_000, 0.95) * np.sqrt(rows) for rows in (200, 2_000, 20_000)}
    assert min(widths, key=widths.__getitem__) == 2_000
    assert 2.5 < widths[2_000] < 3.2
    assert always_valid_mean([], 100).low == -np.inf
    assert always_valid_mean([0.1], 100).high == np.inf


def test_doubly_robust_terms_are_right_whatever_is_expected():
    random = np.random.default_rng(6)
    called = random.random(200_000) < 0.9
    churned = random.random(200_000) < np.where(called, 0.3, 0.4)
    for expected in (0.0, 0.4, 0.9):
        terms = doubly_robust(churned, called, 0.9, expected, expected)
        assert terms.effect.mean() == pytest.approx(-0.1, abs=0.015)
        assert terms.baseline.mean() == pytest.approx(0.4, abs=0.015)


def test_few_churned_accounts_are_not_enough():
    called = np.arange(200) < 100
    assert enough(np.arange(200) % 2, called)
    assert not enough(np.zeros(200), called)
    assert not enough(np.arange(200) % 2, np.arange(200) < 170)


def test_the_effect_on_those_reached_is_the_ratio_and_none_where_nobody_is_reached():
    random = np.random.default_rng(7)
    covered = 0
    for _ in range(200):
        called = random.random(2_000) < 0.8
        reachable = random.random(2_000) < 0.6
        reached = called & reachable
        churned = random.random(2_000) < 0.5 - 0.2 * reached
        found = compliers_effect(churned, called, reached)
        covered += found.low <= -0.2 <= found.high
    assert 0.91 <= covered / 200 <= 0.985
    assert np.isnan(compliers_effect([0, 1, 0, 1], [True, True, False, False], [False] * 4).value)


def test_holm_corrects_for_the_number_of_levels():
    assert holm([0.01, 0.04, np.nan, 0.03]) == pytest.approx([0.03, 0.06, np.nan, 0.06], nan_ok=True)
    assert holm([]).shape == (0,)
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])


def test_power_says_what_a_campaign_can_show_and_what_it_needs():
    score = np.random.default_rng(8).beta(2, 3, 4_526)
    power = campaign_power(score, 453, 0.3, Experiment())
    assert (power.called, power.held_out) == (4_073, 453)
    assert power.power > 0.99
    assert too_small(power, Experiment()) is None
    assert power_sentence(power).startswith("with 4,526 to call and 10% of them kept back (453), a save rate of 0.30")
    few = campaign_power(score[:60], 6, 0.3, Experiment())
    assert few.power < 0.5
    assert "no share up to 50% suffices" in str(too_small(few, Experiment()))
    some = campaign_power(score[:600], 12, 0.3, Experiment())
    assert f"keep back {some.needed:.1%}" in str(too_small(some, Experiment()))
    assert campaign_power(score[:600], round(600 * some.needed), 0.3, Experiment()).power >= 0.8


@pytest.mark.parametrize(("probability", "held_out"), [([], 0), ([0.5], 0), ([0.5], 1), ([0.0, 0.0], 1)])
def test_power_of_nothing_is_none(probability, held_out):
    assert campaign_power(probability, held_out, 0.3, Experiment()).power == pytest.approx(0.0, abs=0.06)
