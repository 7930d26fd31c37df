"""Margins and contributions of a few rows are those of many, to the last bit."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xgboost as xgb

from churn.model import ChurnModel
from churn.model.contributions import Attribution
from churn.model.few_margins import BLOCK_ROWS, WALKED_ROWS, FewMargins
from churn.model.linear import Linear
from churn.model.xgboost_trees import XGBoostTrees
from tests.conftest import rng
from tests.model.test_margins import SMALL, grown

COUNTS = (0, 1, 2, 3, 7, WALKED_ROWS, WALKED_ROWS + 1, BLOCK_ROWS, BLOCK_ROWS + 1, 3 * BLOCK_ROWS)
FEATURES = 6


@pytest.mark.parametrize(
    "parameters",
    [
        *SMALL,
        {"max_depth": 7},
        {"max_depth": 0, "max_leaves": 60, "grow_policy": "lossguide", "num_parallel_tree": 2},
        {"max_depth": 8, "gamma": 1.0, "tree_method": "approx"},
        {"max_depth": 6, "gamma": 5.0, "tree_method": "exact"},
    ],
)
def test_margins_are_those_of_xgboost(parameters: dict[str, object]) -> None:
    booster, features = grown(**parameters) if parameters.get("tree_method") is None else exact(**parameters)
    few = FewMargins.of(booster)
    assert few is not None
    rows = features[: COUNTS[-1]].copy()
    # Values that stand on a threshold go where XGBoost sends them.
    for feature in range(FEATURES):
        cuts = few.comparisons.thresholds[1:][few.comparisons.features[1:] == feature]
        rows[: len(cuts), feature] = cuts[: len(rows)]
    trees = XGBoostTrees(booster)
    for count in COUNTS:
        expected = booster.inplace_predict(rows[:count], predict_type="margin")
        np.testing.assert_array_equal(few.margin(rows[:count]), expected)
        np.testing.assert_array_equal(trees.few_margins(rows[:count]), expected)


def exact(**parameters: object) -> tuple[xgb.Booster, np.ndarray]:
    features = rng(4).normal(size=(2_000, FEATURES)).astype(np.float32)
    labels = features[:, 0] * features[:, 1] + features[:, 2] > 1
    return xgb.train({"objective": "binary:logistic", **parameters}, xgb.DMatrix(features, labels), 20), features


def test_trees_without_a_split_are_added_too() -> None:
    booster, features = grown(rounds=5, max_depth=3, gamma=1e9)
    few = FewMargins.of(booster)
    assert few is not None
    np.testing.assert_array_equal(
        few.margin(features[:3]), booster.inplace_predict(features[:3], predict_type="margin")
    )


def test_a_booster_without_trees_is_left_to_xgboost() -> None:
    booster, features = grown(rounds=0, max_depth=2)
    assert FewMargins.of(booster) is None
    expected = booster.inplace_predict(features[:3], predict_type="margin")
    np.testing.assert_array_equal(XGBoostTrees(booster).few_margins(features[:3]), expected)


@pytest.mark.parametrize("columns", [1, 2, 3, FEATURES])
@pytest.mark.parametrize("parameters", [{"max_depth": 2}, {"max_depth": 6}])
def test_contributions_are_those_of_many_rows(parameters: dict[str, object], columns: int) -> None:
    booster, features = grown(**parameters)
    shares = np.zeros((FEATURES, columns))
    shares[np.arange(FEATURES), np.arange(FEATURES) % columns] = 1
    tables = Attribution.of(booster, shares)
    assert tables is not None
    expected = tables.contributions(features[:5_000])
    for count in (0, 1, 2, 50):
        np.testing.assert_array_equal(tables.of_rows(features[:count]), expected[:count])


def test_contributions_of_larger_trees_do_not_depend_on_other_rows() -> None:
    booster, features = grown(rounds=3, max_depth=0, max_leaves=200, grow_policy="lossguide")
    trees, shares = XGBoostTrees(booster), np.eye(FEATURES)
    assert Attribution.of(booster, shares) is None
    expected, _ = trees.contributions(features[:100], shares)
    for at in range(100):
        np.testing.assert_array_equal(trees.row_contributions(features[at : at + 1], shares), expected[[at]])


def test_the_linear_part_of_a_few_rows_is_that_of_many() -> None:
    weights = tuple(rng(5).normal(size=40) * (rng(6).random(40) > 0.3))
    linear = Linear(0.3, weights, (-1.0,) * 40, (1.5,) * 40, (0.1,) * 40)
    features = rng(7).normal(size=(9_000, 40)).astype(np.float32)
    expected = linear.margin(features)
    for count in (0, 1, 2, 33):
        np.testing.assert_array_equal(linear.few_margins(features[:count]), expected[:count])
    without = replace(linear, weights=(0.0,) * 40)
    np.testing.assert_array_equal(without.few_margins(features[:2]), [0.3, 0.3])


def test_a_row_is_explained_alike_whatever_the_others_are(model: ChurnModel, canonical: pd.DataFrame) -> None:
    together = model.explain(canonical.head(200))
    for at in (0, 1, 57, 199):
        pd.testing.assert_frame_equal(model.explain(canonical.iloc[[at]]), together.iloc[[at]], check_exact=True)
