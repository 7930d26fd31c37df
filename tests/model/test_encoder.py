import json

import numpy as np
import pandas as pd
import pytest

from churn.config import AccountSchema, FeatureEngineering
from churn.errors import AccountsError
from churn.model import Encoder
from churn.training.encoding import fit_encoder

SCHEMA = AccountSchema(id="key", label={"column": "left"}, numeric=["seats", "active"], categorical=["plan"])
SETTINGS = FeatureEngineering(
    ratios=[{"name": "share", "numerator": "active", "denominator": "seats"}], min_category_count=2
)
TRAIN = pd.DataFrame(
    {
        "key": list("abcdef"),
        "seats": [10.0, 0.0, 20.0, np.nan, 30.0, 50.0],
        "active": [5.0, 0.0, 5.0, 4.0, 30.0, 10.0],
        "plan": pd.Series(["gold", "tin", "gold", "tin", None, "rare"], dtype="str"),
    }
)


@pytest.fixture
def encoder() -> Encoder:
    return fit_encoder(TRAIN, SCHEMA, SETTINGS)


def test_what_is_learned(encoder: Encoder) -> None:
    assert encoder.medians == {"seats": 20.0, "active": 5.0, "share": np.median([0.5, 0.25, 1.0, 0.2])}
    assert encoder.vocabularies == {"plan": ("gold", "tin")}
    assert encoder.missing == {"seats", "share", "plan"}
    assert encoder.columns == ("seats", "active", "plan")


def test_features_by_name(encoder: Encoder) -> None:
    assert encoder.feature_names == [
        *("seats", "seats=(missing)", "active", "share", "share=(missing)"),
        *("plan=gold", "plan=tin", "plan=(missing)"),
    ]
    assert encoder.feature_columns[3] == ("active", "seats")
    assert len(encoder.feature_columns) == len(encoder.feature_names)


def test_values(encoder: Encoder) -> None:
    rows = pd.DataFrame(
        {"plan": ["tin", "unseen", None, "rare"], "active": [8, 1, np.nan, 2], "seats": [16, 0, 4, np.nan]}
    )
    expected = [
        [16, 0, 8, 0.5, 0, 0, 1, 0],
        [0, 0, 1, 0.375, 1, 0, 0, 0],
        [4, 0, 5, 0.375, 1, 0, 0, 1],
        [20, 1, 2, 0.375, 1, 0, 0, 0],
    ]
    encoded = encoder.transform(rows)
    assert encoded.dtype == np.float32
    np.testing.assert_array_equal(encoded, np.array(expected, dtype=np.float32))


def test_rows_are_encoded_alone(encoder: Encoder) -> None:
    whole = encoder.transform(TRAIN)
    for at in range(len(TRAIN)):
        np.testing.assert_array_equal(encoder.transform(TRAIN.iloc[[at]]), whole[[at]])


def test_json_round_trip(encoder: Encoder) -> None:
    assert Encoder.from_dict(json.loads(json.dumps(encoder.to_dict()))) == encoder


def test_columns_that_are_missing_or_not_numeric_are_refused(encoder: Encoder) -> None:
    with pytest.raises(AccountsError) as caught:
        encoder.transform(pd.DataFrame({"seats": ["many", "2"], "active": [1, 2]}))
    assert caught.value.faults == ["missing column: plan", "seats: 1 value is not a number (row 1)"]


def test_numbers_that_are_too_large_are_refused(encoder: Encoder) -> None:
    rows = pd.DataFrame({"seats": [np.inf, 1e39, 2.0, np.nan], "active": [1.0] * 4, "plan": ["tin"] * 4})
    with pytest.raises(AccountsError, match=r"seats: 2 values are too large for the model, .* \(rows 1, 2\)"):
        encoder.transform(rows)


def test_a_ratio_of_any_two_numbers_is_finite(encoder: Encoder) -> None:
    rows = pd.DataFrame({"seats": [1e-30, -1e-30], "active": [1e30, 1e30], "plan": ["tin"] * 2})
    largest = np.finfo(np.float32).max
    assert encoder.transform(rows)[:, 3].tolist() == [largest, -largest]


def test_categories_that_an_earlier_version_stored_are_known_in_their_canonical_spelling() -> None:
    stored = Encoder((), (), {}, frozenset(), {"plan": ("1.0", "False", "True", "gold ")})
    rows = pd.DataFrame({"plan": [True, "TRUE", 1.0, "gold", False, "1.5"]})
    assert stored.transform(rows).argmax(axis=1).tolist() == [2, 2, 0, 3, 1, 0]
    assert stored.transform(rows).sum(axis=1).tolist() == [1, 1, 1, 1, 1, 0]
    assert stored.feature_names == ["plan=1.0", "plan=False", "plan=True", "plan=gold "]


def test_a_column_without_known_categories_or_ratio_without_values() -> None:
    rows = TRAIN.assign(seats=0.0, plan=pd.Series(list("uvwxyz"), dtype="str"))
    encoder = fit_encoder(rows, SCHEMA, SETTINGS)
    assert encoder.vocabularies == {"plan": ()}
    assert encoder.medians["share"] == 0.0
    assert not np.isnan(encoder.transform(rows)).any()


def test_source_rows_are_not_changed(encoder: Encoder) -> None:
    before = TRAIN.copy()
    encoder.transform(TRAIN)
    pd.testing.assert_frame_equal(TRAIN, before)
