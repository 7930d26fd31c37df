"""Margins by look-up are those of XGBoost, to the last bit."""

import numpy as np
import pandas as pd
import pytest
import xgboost as xgb

from churn.model import ChurnModel
from churn.model.margins import CHUNK_ROWS, LEAST_ROWS, Lookup
from tests.conftest import rng


def grown(rounds: int = 30, **parameters: object) -> tuple[xgb.Booster, np.ndarray]:
    features = rng(1).normal(size=(CHUNK_ROWS + 5_000, 6)).astype(np.float32)
    features[:, 5] = features[:, 5] > 0
    labels = features[:, 0] * features[:, 1] + features[:, 2] + features[:, 5] > 1
    fitted = {"objective": "binary:logistic", "max_bin": 64, "nthread": 2, **parameters}
    return xgb.train(fitted, xgb.QuantileDMatrix(features, labels, max_bin=64), rounds), features


# Parameters of trees with at most 8 splits.
SMALL = [
    {"max_depth": 1},
    {"max_depth": 3},
    {"max_depth": 3, "base_score": 0.02},
    {"max_depth": 4, "max_leaves": 5, "grow_policy": "lossguide", "subsample": 0.5},
    {"max_depth": 0, "max_leaves": 9, "grow_policy": "lossguide", "num_parallel_tree": 3},
]


@pytest.mark.parametrize("parameters", SMALL)
def test_margins_are_those_of_xgboost(parameters: dict[str, object]) -> None:
    booster, features = grown(**parameters)
    made = Lookup.of(booster)
    assert made is not None
    # Values that stand on a threshold go where XGBoost sends them.
    for feature, cuts in made.cuts.items():
        features[: len(cuts), feature] = cuts
    np.testing.assert_array_equal(made.margin(features), booster.inplace_predict(features, predict_type="margin"))
    assert made.margin(features[:0]).shape == (0,)


def test_a_booster_that_they_would_not_agree_with_has_no_tables() -> None:
    # XGBoost takes the base score of a booster without trees for a margin.
    assert Lookup.of(grown(rounds=0, max_depth=2)[0]) is None


def test_larger_trees_have_no_tables() -> None:
    assert Lookup.of(grown(max_depth=6)[0]) is None


def test_more_thresholds_than_a_byte_counts_have_no_tables() -> None:
    features = rng(2).normal(size=(20_000, 1)).astype(np.float32)
    booster = xgb.train(
        {"objective": "binary:logistic", "max_depth": 3, "max_bin": 5_000},
        xgb.QuantileDMatrix(features, rng(3).integers(0, 2, 20_000), max_bin=5_000),
        200,
    )
    assert Lookup.of(booster) is None


def test_a_model_scores_many_rows_as_it_scores_few(model: ChurnModel, canonical: pd.DataFrame) -> None:
    assert len(canonical) > LEAST_ROWS
    assert model.trees._lookup is not None
    few = [model.probability(canonical.iloc[start : start + 500]) for start in range(0, len(canonical), 500)]
    np.testing.assert_array_equal(model.probability(canonical), np.concatenate(few))
