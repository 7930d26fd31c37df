"""Who can be persuaded: the order by effect is taken where effects differ, and only there."""

from functools import partial

import numpy as np
import pandas as pd
import pytest

from churn.config import Experiment, Parameters, Profit
from churn.experiment.learning import tried_order
from churn.experiment.save_rate import EffectOrder
from churn.experiment.uplift import EffectTrees, gain_of_order
from churn.training.encoding import fit_encoder, plain_features
from tests.benchmarks.campaigns import World, persuadable


@pytest.fixture(scope="module")
def world() -> World:
    return World(called=8_000, holdout=0.3, heterogeneity=1.5, seed=77)


def order(world: World, parameters: Parameters, before: EffectOrder, contacts: int = 5_000) -> EffectOrder:
    experiment = Experiment.model_validate({"effects": {"contacts": contacts}})
    encoder_of = partial(
        fit_encoder, schema=parameters.accounts, settings=plain_features(parameters.feature_engineering)
    )
    return tried_order(world.record, 0.15, before, Profit(), experiment, parameters.accounts, encoder_of, logged=True)


def test_the_order_by_effect_is_taken_and_brings_more_than_that_by_risk(world: World, parameters: Parameters) -> None:
    found = order(world, parameters, EffectOrder())
    assert found.in_use
    assert found.trials == 1
    assert found.low > 0
    trees = EffectTrees.from_json(found.trees)
    score = world.record["probability"].to_numpy()
    accounts = world.accounts.astype(dict.fromkeys(parameters.accounts.numeric_names, float))
    saved = trees.saved(accounts, score)
    assert np.array_equal(saved, EffectTrees.from_json(trees.to_json()).saved(accounts, score))
    # Rows do not influence each other.
    assert np.array_equal(trees.saved(accounts.head(7), score[:7]), saved[:7])
    assert world.value_of(saved) > 0.85 > world.value_of(score)
    # Another trial is due when half as many outcomes again are known.
    assert order(world, parameters, found) is found


def test_too_few_contacts_are_no_trial(world: World, parameters: Parameters) -> None:
    found = order(world, parameters, EffectOrder(), contacts=50_000)
    assert (found.in_use, found.trials) == (False, 0)
    assert "are fewer than experiment.effects.contacts (50,000)" in found.reason


def test_the_order_by_risk_stays_where_effects_are_alike() -> None:
    # The rate of wrong switches is measured by the benchmark; here a few worlds are looked at.
    alike = pd.DataFrame(persuadable(3, 4_000, 0.3, 0.0, seed=900, test_called=0))
    assert alike["taken"].sum() <= 1


def test_the_gain_of_an_order_has_the_stated_error_rate() -> None:
    random = np.random.default_rng(4)
    wrong = 0
    for _ in range(400):
        money = random.normal(5, 100, 500)
        wrong += gain_of_order(money, random.random(500), random.random(500), 0.95).low > 0
    assert wrong / 400 <= 0.05
    truth = np.linspace(-1, 1, 2_000)
    gain = gain_of_order(truth + random.normal(0, 0.1, 2_000), truth, -truth, 0.95)
    assert gain.low < 1 / 3 < gain.high
    assert gain_of_order(truth, truth, truth, 0.95) == (0.0, 0.0, 0.0)
