"""The search for parameters finds what there is to find, and is not taken in by chance."""

import numpy as np
import pandas as pd
import pytest

from churn.config import AccountSchema, Booster, FeatureEngineering, Label, NumericColumn, Training, Tuning
from churn.metrics import classification_metrics
from churn.model import Encoder
from churn.tables import check_accounts
from churn.training import train_model
from churn.training.boosting import assign_folds
from churn.training.encoding import fit_encoder
from churn.training.portfolio import settings_of
from churn.training.tuning import RANGES, Trial, best_trial, choose, in_words, search, summarise
from tests.conftest import rng

SCHEMA = AccountSchema(
    id="id",
    label=Label(column="left"),
    numeric=tuple(NumericColumn(column=name) for name in ("a", "b", "c")),
    categorical=("plan",),
)
FEATURES = FeatureEngineering(min_category_count=2, target_encoding="off")
# Trees that can hardly learn anything, so that there is something to find.
STUNTED = Training(
    booster=Booster(n_estimators=60, max_depth=2, max_leaves=2, learning_rate=0.02),
    folds=3,
    portfolio="quick",
    tuning=Tuning(enabled=True, trials=12),
)


def table(rows: int, seed: int) -> pd.DataFrame:
    """Accounts that leave where a and b have the same sign: nothing that a single split or a line could see."""
    random = rng(seed)
    frame = pd.DataFrame(random.normal(size=(rows, 3)), columns=["a", "b", "c"])
    frame["plan"] = random.choice([f"p{number}" for number in range(40)], rows)
    left = random.random(rows) < np.where(frame["a"] * frame["b"] > 0, 0.8, 0.2)
    frame = frame.assign(id=np.arange(rows).astype("str"), left=left)
    return check_accounts(frame, SCHEMA, subject="accounts", labelled=True).accounts


@pytest.fixture(scope="module")
def accounts() -> pd.DataFrame:
    return table(1_500, 1)


def searched(accounts: pd.DataFrame, training: Training) -> list[Trial]:
    labels = accounts["left"].to_numpy(np.int8)
    encoder = fit_encoder(accounts, SCHEMA, FEATURES)
    return list(search(accounts, encoder, assign_folds(labels, training), SCHEMA, FEATURES, training))


@pytest.fixture(scope="module")
def encoder(accounts: pd.DataFrame) -> Encoder:
    return fit_encoder(accounts, SCHEMA, FEATURES)


@pytest.fixture(scope="module")
def shape(accounts: pd.DataFrame, encoder: Encoder) -> tuple[int, int]:
    return len(accounts), len(encoder.feature_names)


@pytest.fixture(scope="module")
def trials(accounts: pd.DataFrame) -> list[Trial]:
    return searched(accounts, STUNTED)


def test_the_first_trial_is_what_is_configured(trials: list[Trial]) -> None:
    first = trials[0]
    assert first.state == "complete"
    assert first.parameters == {
        **{name: getattr(STUNTED.booster, name) for name in RANGES},
        "min_category_count": FEATURES.min_category_count,
    }
    assert first.gain == 0
    assert [trial.number for trial in trials] == list(range(12))


def test_every_kind_of_parameter_is_varied_within_its_range(trials: list[Trial]) -> None:
    for name, (low, high) in {**RANGES, "min_category_count": (2, 30)}.items():
        values = [trial.parameters[name] for trial in trials[1:]]
        assert len(set(values)) > 3, name
        least = min(low, trials[0].parameters[name])
        assert all(least <= value <= high for value in values), name
        assert all(isinstance(value, type(low)) for value in values), name


def test_hopeless_trials_are_given_up(trials: list[Trial]) -> None:
    pruned = [trial for trial in trials if trial.state == "pruned"]
    assert pruned
    assert all(trial.gain is None and trial.gain_error is None for trial in pruned)
    assert min(trial.loss for trial in pruned) > best_trial(trials).loss


def test_the_loss_is_that_of_rows_the_trees_did_not_see(
    accounts: pd.DataFrame, trials: list[Trial], shape: tuple[int, int]
) -> None:
    best = best_trial(trials)
    chosen = choose(trials, STUNTED, FEATURES, shape)
    model = train_model(accounts, SCHEMA, chosen.features, chosen.training.model_copy(update={"tuning": Tuning()}))
    fresh = table(5_000, 2)
    measured = classification_metrics(fresh["left"], model.probability(fresh), 0.5)
    assert best.loss == pytest.approx(measured["log_loss"], abs=0.04)


def test_the_search_finds_the_interaction(accounts: pd.DataFrame, trials: list[Trial], shape: tuple[int, int]) -> None:
    chosen = choose(trials, STUNTED, FEATURES, shape)
    assert chosen.trial == best_trial(trials)
    assert chosen.training.booster.max_leaves > 2
    assert chosen.training.booster.n_estimators == 60  # what is not searched stays
    assert chosen.features.min_category_count == chosen.trial.parameters["min_category_count"]

    fresh = table(3_000, 3)

    def roc_auc(training: Training) -> float:
        model = train_model(accounts, SCHEMA, FEATURES, training)
        return classification_metrics(fresh["left"], model.probability(fresh), 0.5)["roc_auc"]

    plain = roc_auc(STUNTED.model_copy(update={"tuning": Tuning()}))
    assert roc_auc(STUNTED) > plain + 0.1


def test_the_search_begins_with_the_best_setting_of_the_portfolio(
    accounts: pd.DataFrame, shape: tuple[int, int]
) -> None:
    full = STUNTED.model_copy(update={"portfolio": "full", "tuning": Tuning(enabled=True, trials=2)})
    first, second = searched(accounts, full)
    assert first.setting == second.setting != "configured"
    start = settings_of(full, *shape)[first.setting]
    assert first.parameters["max_depth"] == start.booster.max_depth
    chosen = choose([first, second], full, FEATURES, shape)
    assert chosen.training.booster.grow_policy == start.booster.grow_policy
    if chosen.trial is None:
        assert chosen.training == start


def test_the_same_seed_tries_the_same(accounts: pd.DataFrame, trials: list[Trial]) -> None:
    assert searched(accounts, STUNTED) == trials
    other = STUNTED.model_copy(update={"tuning": Tuning(enabled=True, trials=3, random_state=5)})
    assert [trial.parameters for trial in searched(accounts, other)] != [trial.parameters for trial in trials[:3]]


def test_the_time_limit_ends_the_search_after_the_first_trial(accounts: pd.DataFrame) -> None:
    hurried = STUNTED.model_copy(update={"tuning": Tuning(enabled=True, trials=1000, seconds=1e-9)})
    assert len(searched(accounts, hurried)) == 1


def test_a_gain_within_a_standard_error_is_chance(shape: tuple[int, int]) -> None:
    first = Trial(0, "complete", {"max_depth": 2}, 0.5, 0.0, 0.0)
    lucky = Trial(1, "complete", {"max_depth": 3}, 0.499, 0.001, 0.001)
    better = Trial(2, "complete", {"max_depth": 4}, 0.498, 0.002, 0.001)
    given_up = Trial(3, "pruned", {"max_depth": 5}, 0.1)
    kept = choose([first, lucky, given_up], STUNTED, FEATURES, shape)
    assert (kept.training, kept.features, kept.trial) == (STUNTED, FEATURES, None)
    taken = choose([first, lucky, better, given_up], STUNTED, FEATURES, shape)
    assert taken.training.booster == STUNTED.booster.model_copy(update={"max_depth": 4})
    assert "were kept: the best is not clearly better" in in_words(summarise([first, lucky], kept))
    words = in_words(summarise([first, lucky, better, given_up], taken))
    assert words.startswith("4 sets of parameters were tried, 1 of them given up early. Number 2 was taken: ")


def test_without_a_search_there_is_nothing_to_choose(shape: tuple[int, int]) -> None:
    tuned = choose([], STUNTED, FEATURES, shape)
    assert (tuned.training, tuned.trial) == (STUNTED, None)
    assert summarise([], tuned) == {}


def test_what_is_configured_outside_the_ranges_is_searched_too(accounts: pd.DataFrame) -> None:
    booster = Booster(n_estimators=5, max_depth=0, max_leaves=200, learning_rate=0.5, reg_lambda=0.0)
    wide = STUNTED.model_copy(update={"booster": booster, "tuning": Tuning(enabled=True, trials=2)})
    first, second = searched(accounts, wide)
    assert first.parameters["learning_rate"] == 0.5
    assert first.parameters["max_leaves"] == 200
    assert second.parameters["max_leaves"] <= 200
