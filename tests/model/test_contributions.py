"""Contributions by look-up are those of XGBoost."""

import numpy as np
import pytest
import xgboost as xgb

from churn.model.contributions import Attribution
from tests.conftest import rng


@pytest.mark.parametrize(
    "grown",
    [
        {"max_depth": 1},
        {"max_depth": 3, "base_score": 0.1},
        {"max_depth": 4, "min_child_weight": 0, "gamma": 0},
        {"max_depth": 6},
        {"max_depth": 8},
        {"max_depth": 0, "grow_policy": "lossguide", "max_leaves": 9},
    ],
)
def test_contributions_are_those_of_xgboost(grown: dict[str, object]) -> None:
    features = rng(1).normal(size=(9_000, 5)).round(1).astype(np.float32)
    labels = features[:, 0] * features[:, 1] + features[:, 2] > 0
    booster = xgb.train({"objective": "binary:logistic", **grown}, xgb.DMatrix(features, labels), 20)
    expected = booster.predict(xgb.DMatrix(features), pred_contribs=True)
    made = Attribution.of(booster, np.eye(5))
    assert made is not None
    np.testing.assert_allclose(made.contributions(features), expected[:, :-1], atol=1e-5)
    np.testing.assert_allclose(made.baseline, expected[0, -1], atol=1e-5)
    one_by_one = [made.contributions(features[at : at + 1], threads=1) for at in range(50)]
    np.testing.assert_array_equal(np.concatenate(one_by_one), made.contributions(features)[:50])


def test_columns_share_the_contributions_of_their_features() -> None:
    features = rng(2).normal(size=(500, 2)).astype(np.float32)
    booster = xgb.train({"objective": "binary:logistic"}, xgb.DMatrix(features, features.sum(axis=1) > 0), 5)
    apart, shared = Attribution.of(booster, np.eye(2)), Attribution.of(booster, np.array([[0.5, 0.5], [0.0, 1.0]]))
    assert apart is not None
    assert shared is not None
    parts = apart.contributions(features)
    expected = np.stack([parts[:, 0] / 2, parts[:, 0] / 2 + parts[:, 1]], axis=1)
    np.testing.assert_allclose(shared.contributions(features), expected, atol=1e-9)


def test_deeper_trees_have_no_tables() -> None:
    features = rng(3).normal(size=(4_000, 6)).astype(np.float32)
    deep = {"objective": "binary:logistic", "max_depth": 12, "min_child_weight": 0}
    labels = rng(3).integers(0, 2, 4_000)
    assert Attribution.of(xgb.train(deep, xgb.DMatrix(features, labels), 3), np.eye(6)) is None


def test_no_rows_and_no_trees() -> None:
    features = rng(4).normal(size=(100, 3)).astype(np.float32)
    labels = features[:, 0] > 0
    booster = xgb.train({"objective": "binary:logistic"}, xgb.DMatrix(features, labels), 2)
    made = Attribution.of(booster, np.eye(3))
    assert made is not None
    assert made.contributions(features[:0]).shape == (0, 3)
    empty = Attribution.of(xgb.train({"objective": "binary:logistic"}, xgb.DMatrix(features, labels), 0), np.eye(3))
    assert empty is not None
    assert not empty.contributions(features).any()


def test_large_tables_are_left_to_xgboost(monkeypatch: pytest.MonkeyPatch) -> None:
    features = rng(8).normal(size=(300, 4)).astype(np.float32)
    labels = rng(9).integers(0, 2, 300)
    booster = xgb.train({"objective": "binary:logistic", "max_depth": 5}, xgb.DMatrix(features, labels), 20)
    shares = np.eye(4)
    assert Attribution.of(booster, shares) is not None
    monkeypatch.setattr("churn.model.contributions.LARGEST_TABLES", 10_000)
    assert Attribution.of(booster, shares) is None
