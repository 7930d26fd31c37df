import json
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xgboost as xgb
from sklearn.metrics import roc_auc_score

from churn.config import Booster, Training
from churn.errors import AccountsError
from churn.model.trees import average, scaled
from churn.tables import FrameTable
from churn.training import boosting
from churn.training.boosting import (
    ASKED_EACH,
    Grown,
    assign_folds,
    booster_parameters,
    fit_booster,
    fit_booster_of,
    grow,
)
from churn.training.rows import TrainingRows, parts_of
from tests.conftest import rng

# A value for each parameter that XGBoost would not use by itself.
UNUSUAL = Booster(
    n_estimators=7,
    learning_rate=0.21,
    max_depth=3,
    max_leaves=6,
    grow_policy="lossguide",
    min_child_weight=2.5,
    gamma=0.01,
    reg_alpha=0.02,
    reg_lambda=1.7,
    subsample=0.85,
    colsample_bytree=0.75,
    colsample_bylevel=0.9,
    colsample_bynode=0.95,
    max_bin=64,
    max_delta_step=1.5,
    scale_pos_weight=1.25,
    monotone_constraints=(1, 0, -1, 0, 0),
)


@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, np.ndarray]:
    random = rng()
    features = random.normal(size=(1000, 5)).astype(np.float32)
    return features, (random.random(1000) < 1 / (1 + np.exp(-2 * features[:, 0]))).astype(np.int8)


def leaves(tree: dict) -> dict[str, object]:
    """All name-value pairs of a nested configuration."""
    found: dict[str, object] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            found |= leaves(value)
        elif isinstance(value, list):
            for item in value:
                found |= leaves(item) if isinstance(item, dict) else {}
        else:
            found[name] = value
    return found


# Fold 1 is watched.
WATCHED = (np.arange(1000) >= 800).astype(np.int8)


def margin_of(booster: xgb.Booster, features: np.ndarray) -> np.ndarray:
    return booster.inplace_predict(features, predict_type="margin")


def log_loss(margin: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean(np.logaddexp(0, margin.astype(float)) - labels * margin.astype(float)))


def test_every_configured_parameter_reaches_xgboost(rows: tuple[np.ndarray, np.ndarray]) -> None:
    training = Training(booster=UNUSUAL)
    booster = grow(TrainingRows(*rows, WATCHED), 1, training, seed=99, threads=1).booster
    used = leaves(json.loads(booster.save_config()))
    for name, value in UNUSUAL.model_dump(exclude={"n_estimators", "tree_method"}).items():
        if isinstance(value, str):
            assert used[name] == value, name
        elif name == "monotone_constraints":
            assert used[name] == "(1,0,-1,0,0)"
        else:
            assert float(str(used[name])) == pytest.approx(value), name
    assert int(str(used["seed"])) == 99
    assert int(str(used["nthread"])) == 1
    assert used["objective"] == "binary:logistic"
    assert booster.num_boosted_rounds() <= 7


def test_no_parameter_is_forgotten() -> None:
    assert set(Booster.model_fields) - set(booster_parameters(Training())) == {"n_estimators"}


@pytest.mark.parametrize("method", ["hist", "approx", "exact"])
def test_every_tree_method_fits(rows: tuple[np.ndarray, np.ndarray], method: str) -> None:
    features, labels = rows
    training = Training(booster=Booster(n_estimators=50, tree_method=method))
    fitted = fit_booster(TrainingRows(features, labels, assign_folds(labels, training)), training)
    assert 1 <= fitted.booster.num_boosted_rounds() <= 50
    assert roc_auc_score(labels, fitted.margin) > 0.75


def test_folds_are_stratified_and_seeded(rows: tuple[np.ndarray, np.ndarray]) -> None:
    labels = rows[1]
    folds = assign_folds(labels, Training(folds=4))
    assert np.bincount(folds).tolist() == [250] * 4
    churned = np.bincount(folds, weights=labels)
    assert churned.max() - churned.min() <= 1
    np.testing.assert_array_equal(folds, assign_folds(labels, Training(folds=4)))
    assert (folds != assign_folds(labels, Training(folds=4, random_state=1))).any()


def test_a_rare_class_makes_fewer_folds() -> None:
    labels = np.array([1] * 3 + [0] * 50, dtype=np.int8)
    folds = assign_folds(labels, Training(folds=5))
    assert sorted(folds[:3]) == [0, 1, 2]
    assert folds.max() == 2
    with pytest.raises(AccountsError, match="a class has 1 rows, at least 2 are needed"):
        assign_folds(labels[2:], Training())


@pytest.mark.parametrize(
    ("rows", "configured", "expected"), [(49_999, 5, 5), (50_000, 5, 3), (149_999, 2, 2), (150_000, 5, 2)]
)
def test_a_long_table_has_fewer_folds(rows: int, configured: int, expected: int) -> None:
    labels = (np.arange(rows) % 7 == 0).astype(np.int8)
    folds = assign_folds(labels, Training(folds=configured))
    assert np.ptp(np.bincount(folds, minlength=expected)) <= 1
    assert folds.max() + 1 == expected


def test_the_average_has_the_mean_margin_at_every_round(rows: tuple[np.ndarray, np.ndarray]) -> None:
    features, labels = rows
    training = Training(booster=Booster(n_estimators=12), early_stopping_rounds=100)
    parts = [
        grow(TrainingRows(features, labels, np.arange(1000) % 3), fold, training, seed=fold).booster
        for fold in range(3)
    ]
    whole = average(parts)
    assert whole.num_boosted_rounds() == 12
    for rounds in (1, 5, 12):
        expected = np.mean([margin_of(part[:rounds], features).astype(float) for part in parts], axis=0)
        np.testing.assert_allclose(margin_of(whole[:rounds], features), expected, atol=2e-6)
    # Exact contributions are linear in the trees.
    data = xgb.DMatrix(features[:50])
    expected = np.mean([part.predict(data, pred_contribs=True) for part in parts], axis=0)
    np.testing.assert_allclose(whole.predict(data, pred_contribs=True), expected, atol=2e-6)


def test_the_average_survives_storage_bit_by_bit(rows: tuple[np.ndarray, np.ndarray]) -> None:
    features, labels = rows
    training = Training(booster=Booster(n_estimators=20))
    booster = fit_booster(TrainingRows(features, labels, assign_folds(labels, training)), training).booster
    stored = bytes(booster.save_raw("ubj"))
    loaded = xgb.Booster()
    loaded.load_model(bytearray(stored))
    np.testing.assert_array_equal(margin_of(loaded, features), margin_of(booster, features))
    assert bytes(loaded.save_raw("ubj")) == stored


def test_scaling_keeps_the_log_odds_the_trees_start_from(rows: tuple[np.ndarray, np.ndarray]) -> None:
    features, labels = rows
    training = Training(booster=Booster(n_estimators=20))
    booster = fit_booster(TrainingRows(features, labels, assign_folds(labels, training)), training).booster
    base = float(np.log(labels.mean() / (1 - labels.mean())))
    expected = base + 0.3 * (margin_of(booster, features).astype(float) - base)
    np.testing.assert_allclose(margin_of(scaled(booster, 0.3), features), expected, atol=2e-6)


def test_boosters_that_do_not_match_are_not_averaged(rows: tuple[np.ndarray, np.ndarray]) -> None:
    features, labels = rows
    training = Training(booster=Booster(n_estimators=5))
    booster = grow(TrainingRows(features, labels, WATCHED), 1, training, seed=1).booster
    with pytest.raises(ValueError, match="same base score and the same number of trees"):
        average([booster, booster[:3]])
    with pytest.raises(ValueError, match="same base score and the same number of trees"):
        average([booster, grow(TrainingRows(features, 1 - labels, WATCHED), 1, training, seed=1).booster])


def test_margins_come_from_boosters_that_did_not_see_the_row(rows: tuple[np.ndarray, np.ndarray]) -> None:
    features = rows[0]
    labels = rng(3).integers(0, 2, 1000).astype(np.int8)  # nothing to learn but the rows themselves
    training = Training(booster=Booster(n_estimators=30, learning_rate=0.5, max_leaves=0, max_depth=8))
    fitted = fit_booster(TrainingRows(features, labels, assign_folds(labels, training)), training)
    assert abs(roc_auc_score(labels, fitted.margin) - 0.5) < 0.06
    assert roc_auc_score(labels, margin_of(fitted.booster, features)) > 0.6


def test_early_stopping_keeps_the_best_trees_of_all_folds(rows: tuple[np.ndarray, np.ndarray]) -> None:
    features, labels = rows
    training = Training(booster=Booster(learning_rate=0.3), early_stopping_rounds=10, folds=2)
    folds = assign_folds(labels, training)
    grown = [
        grow(TrainingRows(features, labels, folds), fold, training, seed=training.random_state + fold)
        for fold in (0, 1)
    ]
    kept = fit_booster(TrainingRows(features, labels, folds), training).booster.num_boosted_rounds()
    common = min(len(each.losses) for each in grown)
    assert 1 <= kept < common < 100

    def loss(trees: int) -> float:
        margins = [margin_of(each.booster[:trees], features[folds == fold]) for fold, each in enumerate(grown)]
        return float(np.mean([log_loss(margin, labels[folds == fold]) for fold, margin in enumerate(margins)]))

    assert np.argmin([loss(trees) for trees in range(1, common + 1)]) == kept - 1


def test_the_seed_decides_and_threads_do_not(rows: tuple[np.ndarray, np.ndarray]) -> None:
    features, labels = rows
    folds = assign_folds(labels, Training())

    def fitted(seed: int, threads: int = 0) -> bytes:
        training = Training(booster=Booster(n_estimators=20), random_state=seed, threads=threads)
        return bytes(fit_booster(TrainingRows(features, labels, folds), training).booster.save_raw("ubj"))

    assert fitted(1) == fitted(1) == fitted(1, threads=1) == fitted(1, threads=4)
    assert fitted(1) != fitted(2)


def test_growing_can_be_stopped(rows: tuple[np.ndarray, np.ndarray]) -> None:
    stop = threading.Event()
    stop.set()
    training = Training(booster=Booster(n_estimators=100_000), early_stopping_rounds=100_000)
    assert len(grow(TrainingRows(*rows, WATCHED), 1, training, seed=1, stop=stop).losses) == 1


def test_a_failure_in_one_fold_stops_all(rows: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail_first(*arguments: object, seed: int, **named: object) -> object:
        if seed == 7:
            raise KeyboardInterrupt
        return grow(*arguments, seed=seed, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(boosting, "grow", fail_first)
    training = Training(
        booster=Booster(n_estimators=100_000), early_stopping_rounds=100_000, random_state=7, threads=2, folds=2
    )
    with pytest.raises(KeyboardInterrupt):
        fit_booster(TrainingRows(*rows, assign_folds(rows[1], training)), training)


def test_the_trees_of_a_fold_of_a_long_table_see_the_rows_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    random = rng()
    frame = pd.DataFrame(random.normal(size=(900, 2)).astype(np.float32), columns=["a", "b"])
    labels = (random.random(900) < 0.3).astype(np.int8)
    folds = (np.arange(900) % 3).astype(np.int8)
    seen: list[tuple[int, float, int]] = []

    def noted(fit: xgb.DMatrix, watch: xgb.DMatrix, *rest: Any) -> Grown:
        seen.append((fit.num_row(), float(fit.get_label().sum()), watch.num_row()))
        return trained(fit, watch, *rest)

    trained = boosting._train
    monkeypatch.setattr(boosting, "_train", noted)
    table = FrameTable(frame.assign(left=labels))
    watched = TrainingRows.of(frame.to_numpy(), labels, folds, {}).drawn(2)
    booster = UNUSUAL.model_copy(update={"monotone_constraints": (1, 0)})
    fitted = fit_booster_of(table, ["a", "b"], "left", parts_of(folds), watched, Training(booster=booster))
    assert seen == [(600, labels[folds != fold].sum(), 150) for fold in range(3)]
    assert len(fitted.margin) == 450


def test_a_booster_can_be_given_up() -> None:
    features = rng(7).normal(size=(600, 4)).astype(np.float32)
    labels = (features[:, 0] + rng(8).normal(size=600) > 0).astype(np.int8)
    watched = np.arange(600) < 200
    asked: list[tuple[np.ndarray, int]] = []

    def give_up(margin: np.ndarray, losses: Sequence[float]) -> bool:
        asked.append((margin, len(losses)))
        return len(asked) == 2

    slow = Training(booster=Booster(learning_rate=0.01))
    grown = grow(TrainingRows(features, labels, watched), 1, slow, seed=1, give_up=give_up)
    assert [count for _, count in asked] == [ASKED_EACH, 2 * ASKED_EACH]
    assert len(grown.losses) == 2 * ASKED_EACH
    found = grown.booster.inplace_predict(features[watched], predict_type="margin")
    np.testing.assert_allclose(asked[-1][0], found, atol=1e-5)
