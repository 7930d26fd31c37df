"""UBJSON as XGBoost writes it."""

import json

import numpy as np
import pytest
import xgboost as xgb

from churn.model.trees import leaf_depths, scaled, stored_trees
from churn.model.ubjson import decode, encode
from tests.conftest import rng


@pytest.fixture(scope="module")
def booster() -> xgb.Booster:
    features = rng(2).normal(size=(400, 4)).astype(np.float32)
    parameters = {"objective": "binary:logistic", "max_depth": 5, "nthread": 1, "base_score": 0.3}
    return xgb.train(parameters, xgb.DMatrix(features, features[:, 0] > features[:, 1]), 6)


def test_a_booster_is_the_same_bytes_after_reading_and_writing(booster: xgb.Booster) -> None:
    other = xgb.Booster()
    other.load_model(bytearray(encode(decode(bytes(booster.save_raw("ubj"))))))
    assert other.save_raw("ubj") == booster.save_raw("ubj")


def test_what_is_written_is_read() -> None:
    given = {"a": [1, -2, 2.5, True, None, "ü", []], "b": {}, "": {"c": False}}
    assert decode(encode(given)) == given
    for kind in (np.uint8, np.int8, np.int16, np.int32, np.int64, np.float32, np.float64):
        array = np.array([0, 1, 100], kind)
        np.testing.assert_array_equal(decode(encode([array]))[0], array)


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b"[i\x01U\xff]", [1, 255]),
        (b"[#i\x02I\x01\x00l\x00\x00\x00\x05", [256, 5]),
        (b"{i\x01aSi\x02xy}", {"a": "xy"}),
        (b"[]", []),
    ],
)
def test_forms_that_are_only_read(content: bytes, value: object) -> None:
    assert decode(content) == value


def test_other_content_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown marker 'x'"):
        decode(b"[x]")
    with pytest.raises(TypeError, match="set"):
        encode({"a": {1}})


def test_trees_and_depths_are_those_of_json(booster: xgb.Booster) -> None:
    trees = json.loads(booster.save_raw("json"))["learner"]["gradient_booster"]["model"]["trees"]
    stored = stored_trees(booster)
    assert stored.base_score == pytest.approx(0.3)
    for tree, known, depths in zip(stored.trees, trees, leaf_depths(booster), strict=True):
        for name in ("left_children", "right_children", "parents", "split_indices"):
            assert tree[name] == known[name]
        # JSON has the shortest text that is the same float32.
        np.testing.assert_array_equal(np.float32(tree["split_conditions"]), np.float32(known["split_conditions"]))

        def leaves(node: int, depth: int, tree: dict = known) -> dict[int, int]:
            if tree["left_children"][node] == -1:
                return {node: depth}
            below = (tree[side][node] for side in ("left_children", "right_children"))
            return {leaf: at for child in below for leaf, at in leaves(child, depth + 1).items()}

        found = leaves(0, 0)
        assert depths.tolist() == [found[leaf] for leaf in sorted(found)]


def test_leaves_are_scaled_and_splits_are_not(booster: xgb.Booster) -> None:
    features = rng(3).normal(size=(50, 4)).astype(np.float32)
    start = np.log(0.3 / 0.7)
    half = scaled(booster, 0.5).inplace_predict(features, predict_type="margin")
    whole = booster.inplace_predict(features, predict_type="margin")
    np.testing.assert_allclose(half - start, (whole - start) / 2, atol=1e-6)
