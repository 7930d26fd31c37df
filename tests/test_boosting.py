import json

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from churn.boosting import booster_parameters, fit_booster
from churn.parameters import Booster, Training

from .conftest import rng

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


def test_every_configured_parameter_reaches_xgboost(rows: tuple[np.ndarray, np.ndarray]) -> None:
    features, labels = rows
    training = Training(booster=UNUSUAL, random_state=99, threads=1)
    booster = fit_booster(features[:800], labels[:800], features[800:], labels[800:], training)
    used = leaves(json.loads(booster.save_config()))
    for name, value in UNUSUAL.model_dump(exclude={"n_estimators", "tree_method"}).items():
        if isinstance(value, str):
            assert used[name] == value, name
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
    booster = fit_booster(features[:800], labels[:800], features[800:], labels[800:], training)
    assert 1 <= booster.num_boosted_rounds() <= 50
    assert roc_auc_score(labels[800:], booster.inplace_predict(features[800:])) > 0.75


def test_early_stopping_keeps_the_best_trees(rows: tuple[np.ndarray, np.ndarray]) -> None:
    features, labels = rows
    training = Training(booster=Booster(learning_rate=0.5, max_depth=6), early_stopping_rounds=5)
    booster = fit_booster(features[:800], labels[:800], features[800:], labels[800:], training)
    assert 1 <= booster.num_boosted_rounds() < 50

    def log_loss(trees: int) -> float:
        given = booster[:trees].inplace_predict(features[800:])
        return float(-np.mean(np.log(np.where(labels[800:] == 1, given, 1 - given))))

    losses = [log_loss(trees) for trees in range(1, booster.num_boosted_rounds() + 1)]
    assert np.argmin(losses) == len(losses) - 1


def test_the_seed_decides(rows: tuple[np.ndarray, np.ndarray]) -> None:
    features, labels = rows

    def fitted(seed: int) -> bytes:
        training = Training(booster=Booster(n_estimators=20), random_state=seed)
        booster = fit_booster(features[:800], labels[:800], features[800:], labels[800:], training)
        return bytes(booster.save_raw("ubj"))

    assert fitted(1) == fitted(1)
    assert fitted(1) != fitted(2)
