"""Contributions of large trees, level by level, are those of XGBoost and of the tables."""

import numpy as np
import pytest
import xgboost as xgb

from churn.model.contributions import Attribution
from churn.model.path_contributions import PathAttribution
from churn.model.xgboost_trees import XGBoostTrees
from tests.conftest import rng


def grown(
    rounds: int, seed: int = 1, rows: int = 3_000, columns: int = 6, **settings: object
) -> tuple[xgb.Booster, np.ndarray]:
    features = rng(seed).normal(size=(rows, columns)).round(1).astype(np.float32)
    labels = features[:, 0] * features[:, 1] + features[:, 2] + rng(seed).normal(size=rows) > 0
    given = {"objective": "binary:logistic", "nthread": 1, **settings}
    return xgb.train(given, xgb.DMatrix(features, labels), rounds), features


@pytest.mark.parametrize(
    "settings",
    [
        {"max_depth": 1},
        {"max_depth": 4, "min_child_weight": 0, "base_score": 0.1},
        {"max_depth": 7},
        {"max_depth": 12, "min_child_weight": 5},
        {"max_depth": 0, "grow_policy": "lossguide", "max_leaves": 40},
        {"max_depth": 6, "gamma": 1e9},  # roots only
    ],
)
def test_they_are_those_of_xgboost(settings: dict[str, object]) -> None:
    booster, features = grown(20, **settings)
    made = PathAttribution.of(booster, np.eye(6))
    assert made is not None
    some = features[:200]
    expected = booster.predict(xgb.DMatrix(some), pred_contribs=True)
    found = made.contributions(some)
    np.testing.assert_allclose(found, expected[:, :-1], atol=1e-5)
    np.testing.assert_allclose(made.baseline, expected[0, -1], atol=1e-5)
    # A row has the same bits whatever the others are, and on any number of threads.
    np.testing.assert_array_equal(np.concatenate([made.of_rows(some[at : at + 1]) for at in range(200)]), found)
    np.testing.assert_array_equal(made.contributions(some[::-1], threads=1)[::-1], found)
    tables = Attribution.of(booster, np.eye(6))
    if tables is not None:
        np.testing.assert_allclose(found, tables.contributions(some), atol=1e-6)


def test_columns_share_the_contributions_of_their_features() -> None:
    booster, features = grown(5, max_depth=5)
    apart, shares = PathAttribution.of(booster, np.eye(6)), np.eye(6)
    shares[0, :2] = 0.5
    shared = PathAttribution.of(booster, shares)
    assert apart is not None
    assert shared is not None
    parts = apart.contributions(features[:50])
    np.testing.assert_allclose(shared.contributions(features[:50]), parts @ shares, atol=1e-12)
    assert shared.contributions(features[:0]).shape == (0, 6)


def test_paths_of_too_many_features_are_left_to_xgboost() -> None:
    booster, features = grown(3, columns=30, max_depth=14, min_child_weight=0, colsample_bynode=0.1)
    assert PathAttribution.of(booster, np.eye(30)) is None
    parts, baseline = XGBoostTrees(booster).contributions(features[:10], np.eye(30))
    margin = booster.predict(xgb.DMatrix(features[:10]), output_margin=True)
    np.testing.assert_allclose(parts.sum(axis=1) + baseline, margin, atol=1e-4)
    none = xgb.train({"objective": "binary:logistic"}, xgb.DMatrix(features, features[:, 0] > 0), 0)
    assert PathAttribution.of(none, np.eye(30)) is None


def test_large_trees_are_explained_alike_one_by_one_and_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("churn.model.contributions.LARGEST_TABLES", 10_000)
    booster, features = grown(30, max_depth=7)
    trees = XGBoostTrees(booster)
    together, baseline = trees.contributions(features[:100], np.eye(6))
    np.testing.assert_array_equal(trees.row_contributions(features[:100], np.eye(6)), together)
    margin = trees.few_margins(features[:100])
    np.testing.assert_allclose(together.sum(axis=1) + baseline, margin, atol=1e-4)
