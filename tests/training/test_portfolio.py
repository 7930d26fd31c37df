"""Settings of the trees that the table decides on."""

import numpy as np
import pytest

from churn.config import Booster, Training
from churn.model.trees import average, combine
from churn.model.xgboost_trees import XGBoostTrees
from churn.training.boosting import assign_folds, fit_booster, grow, watched_rows
from churn.training.portfolio import (
    CONFIGURED,
    SETTINGS,
    choose_setting,
    fit_portfolio,
    in_words,
    settings_of,
    weigh,
)
from churn.training.rows import TrainingRows
from tests.conftest import rng

FULL = Training(folds=3, threads=2)
QUICK = Training(folds=3, threads=2, portfolio="quick")


def rows(kind: str, count: int = 3000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features and outcomes: of a smooth effect, or of an interaction of three columns that small trees cannot hold."""
    random = rng(seed)
    features = random.normal(size=(count, 8)).astype(np.float32)
    # The interaction: each of 125 cells has an effect of its own.
    cell = np.clip((features[:, :3] * 1.5 + 2.5).astype(int), 0, 4) @ [25, 5, 1]
    effects = 2.5 * rng(99).normal(size=125)
    margin = features[:, 0] - 0.5 * features[:, 1] if kind == "smooth" else effects[cell]
    return features, (random.random(count) < 1 / (1 + np.exp(-margin))).astype(np.int8)


def loss(margin: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean(np.logaddexp(0, margin) - labels * margin))


def test_a_table_of_interactions_gets_larger_trees() -> None:
    features, labels = rows("interaction")
    folds, nothing = assign_folds(labels, FULL), np.zeros(len(labels))
    full = fit_portfolio(TrainingRows(features, labels, folds), nothing, FULL)
    quick = fit_portfolio(TrainingRows(features, labels, folds), nothing, QUICK)
    assert not quick.summary
    fresh, truth = rows("interaction", seed=1)
    found = [loss(each.trees.booster.inplace_predict(fresh, predict_type="margin"), truth) for each in (full, quick)]
    assert found[0] < found[1] - 0.04
    settings = full.summary["settings"]
    assert list(settings) == [CONFIGURED, *SETTINGS]
    assert sum(each["weight"] for each in settings.values()) == pytest.approx(1)
    assert settings[CONFIGURED]["weight"] < 0.2
    # Losses of settings that stopped on the first fold, which may be an easy one, can be compared with the others.
    assert min(settings, key=lambda name: settings[name]["loss"]) in [
        name for name in settings if settings[name]["weight"]
    ]
    assert "log loss" in in_words(full.summary)


def test_a_smooth_table_keeps_the_configured_trees() -> None:
    features, labels = rows("smooth")
    folds = assign_folds(labels, FULL)
    full = fit_portfolio(TrainingRows(features, labels, folds), np.zeros(len(labels)), FULL)
    assert full.summary["settings"][CONFIGURED]["weight"] > 0.5
    chosen, summary = choose_setting(TrainingRows(features, labels, folds), FULL)
    assert chosen == FULL
    assert summary["rows"] == 3000
    assert summary["settings"][CONFIGURED]["weight"] == 1
    assert choose_setting(TrainingRows(features, labels, folds), QUICK) == (QUICK, {})


def test_one_setting_is_chosen_for_a_long_table() -> None:
    features, labels = rows("interaction")
    chosen, summary = choose_setting(TrainingRows(features, labels, assign_folds(labels, FULL)), FULL)
    [name] = [name for name, each in summary["settings"].items() if each["weight"]]
    assert name != CONFIGURED
    assert chosen == settings_of(FULL, 3000, 8)[name]
    assert "on 3,000 of the rows" in in_words(summary)


def test_the_margins_are_those_of_rows_that_were_not_grown_on() -> None:
    random = rng(5)
    features = random.normal(size=(1200, 5)).astype(np.float32)
    labels = (random.random(1200) < 0.3).astype(np.int8)  # nothing to learn
    trees = fit_portfolio(TrainingRows(features, labels, assign_folds(labels, FULL)), np.zeros(1200), FULL).trees
    constant = loss(np.full(1200, np.log(0.3 / 0.7)), labels)
    assert loss(trees.margin, labels) == pytest.approx(constant, abs=0.01)


def test_the_same_seed_gives_the_same_bytes_with_any_number_of_threads() -> None:
    features, labels = rows("interaction", 800)
    folds = assign_folds(labels, FULL)
    made = {
        bytes(
            fit_portfolio(TrainingRows(features, labels, folds), np.zeros(800), training).trees.booster.save_raw("ubj")
        )
        for training in (FULL, FULL, FULL.model_copy(update={"threads": 1}))
    }
    assert len(made) == 1


def test_few_of_many_held_out_rows_decide_when_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = rows("interaction")
    known, nothing = TrainingRows(features, labels, assign_folds(labels, FULL)), np.zeros(len(labels))
    assert watched_rows(1000).step == 1
    whole = fit_portfolio(known, nothing, FULL)
    monkeypatch.setattr("churn.training.boosting.WATCHED_ROWS", 400)
    assert watched_rows(1000).step == 3
    fewer = fit_portfolio(known, nothing, FULL)
    assert not np.array_equal(fewer.trees.margin, whole.trees.margin)
    # All rows have margins of trees that were not grown on them, as good as before.
    assert loss(fewer.trees.margin, labels) == pytest.approx(loss(whole.trees.margin, labels), abs=0.01)


@pytest.fixture(scope="module")
def two_boosters() -> tuple[list, np.ndarray]:
    features, labels = rows("smooth", 600)
    folds = assign_folds(labels, FULL)
    few = Training(folds=3, booster=Booster(n_estimators=20, max_depth=3, max_leaves=0))
    more = Training(folds=3, booster=Booster(n_estimators=45, max_depth=5, max_leaves=0))
    return [fit_booster(TrainingRows(features, labels, folds), each).booster for each in (few, more)], features


def test_weighted_boosters_are_one_booster(two_boosters: tuple[list, np.ndarray]) -> None:
    boosters, features = two_boosters
    margins = [each.inplace_predict(features, predict_type="margin") for each in boosters]
    merged = combine(boosters, [0.3, 0.7])
    expected = 0.3 * margins[0] + 0.7 * margins[1]
    margin = merged.inplace_predict(features, predict_type="margin")
    np.testing.assert_allclose(margin, expected, atol=5e-6)
    # Stored, loaded, explained and applied to one row like any other.
    trees = XGBoostTrees.from_bytes(XGBoostTrees(merged).to_bytes())
    np.testing.assert_array_equal(trees.margin(features), margin)
    np.testing.assert_array_equal(np.concatenate([trees.margin(row[None]) for row in features[:20]]), margin[:20])
    for explained in (trees.contributions, trees.few_contributions):
        parts, baseline = explained(features[:50], np.eye(8))
        np.testing.assert_allclose(parts.sum(axis=1) + baseline, margin[:50], atol=1e-4)
    assert combine(boosters[:1], [1.0]) is boosters[0]


def test_boosters_that_start_elsewhere_are_not_merged(two_boosters: tuple[list, np.ndarray]) -> None:
    features, labels = rows("smooth", 600)
    other = grow(TrainingRows(features, 1 - labels, np.arange(600) < 200), 1, FULL, seed=1).booster
    with pytest.raises(ValueError, match="same base score"):
        combine([two_boosters[0][0], average([other])], [0.5, 0.5])


def test_weights_are_those_of_the_least_loss() -> None:
    random = rng(3)
    truth = random.normal(size=20_000)
    labels = (random.random(20_000) < 1 / (1 + np.exp(-truth))).astype(np.int8)
    noise = random.normal(size=20_000)
    first, second = truth + 0.5 * noise, truth - 0.5 * noise  # their mean is the truth
    assert weigh([first, second], [], labels) == pytest.approx([0.5, 0.5], abs=0.05)
    assert weigh([truth, first], [], labels) == pytest.approx([1.0, 0.0], abs=0.06)
    # What adds nothing but noise, or points the other way, gets nothing; one always remains.
    assert weigh([-truth, -first], [], labels) == [1.0, 0.0]
    assert weigh([noise, 1.0 * noise], [truth], labels) in ([1.0, 0.0], [0.0, 1.0], [0.5, 0.5])


def test_one_setting_that_is_left_is_the_booster_of_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("churn.training.portfolio.SETTINGS", {})
    features, labels = rows("smooth", 600)
    folds = assign_folds(labels, FULL)
    full, quick = (
        fit_portfolio(TrainingRows(features, labels, folds), np.zeros(600), each).trees for each in (FULL, QUICK)
    )
    assert full.booster.save_raw("ubj") == quick.booster.save_raw("ubj")
    np.testing.assert_array_equal(full.margin, quick.margin)


def test_a_wide_or_short_table_has_fewer_bins() -> None:
    def bins(rows: int, features: int) -> set[int]:
        return {each.booster.max_bin for name, each in settings_of(FULL, rows, features).items() if name != CONFIGURED}

    assert (bins(20_000, 30), bins(20_000, 600)) == ({256}, {64})
    assert (bins(2_000, 30), bins(200, 30)) == ({125}, {64})
    assert settings_of(FULL, 2_000, 600)[CONFIGURED] == FULL
