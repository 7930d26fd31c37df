"""Scores and outcomes gathered in batches and joined by hashes are those that a join of whole tables gives."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from churn.config import AccountSchema
from churn.datasets import AccountsDataset, OutcomeBatchesDataset
from churn.errors import AccountsError
from churn.monitoring import ScoredAccounts, scored_accounts
from churn.monitoring import outcomes as outcomes_module
from churn.tables import Table, ids
from churn.tables.ids import hashes_of
from tests.conftest import InMemory, in_batches, rng

BANDS = ("low", "high")
WAY_OUT = (
    "accounts.label.positive is 'Yes'; name the values that mean stayed in accounts.label.negative, others in "
    "accounts.label.unknown or drop"
)
SCHEMA = AccountSchema.model_validate(
    {"id": "key", "label": {"column": "left", "positive": "Yes"}, "numeric": ["size"], "categorical": ["kind"]}
)


class Parts(Table):
    """Scores in batches of 7 rows."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self._frame = frame

    @property
    def columns(self) -> list[str]:
        return list(self._frame.columns)

    def __len__(self) -> int:
        return len(self._frame)

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
        names = self.columns if columns is None else list(columns)
        for start in range(0, max(len(self), 1), 7):
            yield self._frame[names].iloc[start : start + 7]


def predictions_of(ids: Sequence[str | None], **columns: Any) -> pd.DataFrame:
    probability = rng(1).random(len(ids)).astype(np.float32)
    frame = pd.DataFrame(
        {
            "key": pd.Series(list(ids), dtype="str"),
            "probability": probability,
            "prediction": (probability >= 0.5).astype(np.int8),
            "risk_band": pd.Categorical.from_codes((probability >= 0.3).astype(int), categories=list(BANDS)),
            "model_version": "3",
        }
    )
    return frame.assign(**columns)


def outcomes_of(ids: Sequence[str], left: Sequence[Any]) -> pd.DataFrame:
    return pd.DataFrame({"key": pd.Series(list(ids), dtype="str"), "left": pd.Series(list(left), dtype="str")})


def gathered(predictions: pd.DataFrame, outcomes: pd.DataFrame | None) -> ScoredAccounts:
    return scored_accounts(
        Parts(predictions), None if outcomes is None else in_batches(outcomes, 5), SCHEMA, list(BANDS)
    )


def check_as_whole(predictions: pd.DataFrame, outcomes: pd.DataFrame) -> None:
    """Compare with what pandas makes of the whole tables."""
    found = gathered(predictions, outcomes)
    codes = {"yes": 1, "no": 0}
    known = {
        key: codes.get(str(left).strip().lower(), -1)
        for key, left in zip(outcomes["key"], outcomes["left"], strict=True)
    }
    assert found.truth is not None
    assert found.truth.tolist() == [known.get(key, -1) for key in predictions["key"]]
    assert found.probability.tolist() == predictions["probability"].astype(float).tolist()
    assert found.flagged.tolist() == (predictions["prediction"] == 1).tolist()
    assert found.band.tolist() == [BANDS.index(name) for name in predictions["risk_band"]]
    assert (found.unique, found.outcomes) == (predictions["key"].nunique(), len(outcomes))


def mixed() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores with repeats and an empty id, and outcomes of some accounts and of others, some not known yet."""
    numbers = rng(2).integers(0, 90, 100)
    ids: list[str | None] = [f"account-{number}" for number in numbers]
    ids[50] = None
    others = rng(3).permutation(150)[:80]
    left = rng(4).choice(["Yes", " no", "NO", ""], 80)
    return predictions_of(ids), outcomes_of([f"account-{number}" for number in others], left)


def test_repeats_strangers_and_outcomes_of_a_part() -> None:
    check_as_whole(*mixed())


@pytest.mark.parametrize("different", [1, 3, 40])
def test_ids_whose_hashes_are_equal_are_told_apart(monkeypatch: pytest.MonkeyPatch, different: int) -> None:
    for module in (ids, outcomes_module):
        monkeypatch.setattr(module, "hashes_of", lambda ids: hashes_of(ids) % np.uint64(different))
    check_as_whole(*mixed())
    # One outcome, one score, different ids of one hash.
    check_as_whole(predictions_of(["a"]), outcomes_of(["b"], ["Yes"]))
    with pytest.raises(AccountsError) as caught:
        gathered(predictions_of(["a"]), outcomes_of(["a", "b", "c", "b", "d", "e", "a"], ["Yes"] * 7))
    assert caught.value.faults == [
        "key: 2 values are a repetition of an earlier id (rows 4, 7); an account has one row"
    ]


def test_more_ids_than_are_held_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("churn.tables.ids.IDS_IN_MEMORY", 10)
    check_as_whole(*mixed())


def test_without_outcomes_and_with_an_empty_table_of_them() -> None:
    assert gathered(predictions_of(["a", "b"]), None).truth is None
    none = gathered(predictions_of(["a", "b"]), outcomes_of([], []))
    assert none.truth is not None
    assert (none.truth.tolist(), none.outcomes) == ([-1, -1], 0)
    nobody = gathered(predictions_of([]), outcomes_of(["a"], ["Yes"]))
    assert (len(nobody), nobody.unique, nobody.outcomes) == (0, 0, 1)


def test_outcomes_may_be_of_one_class_and_of_any_type() -> None:
    predictions = predictions_of(["1", "2", "3"])
    of_numbers = pd.DataFrame({"key": [3, 1, 2], "left": ["No", None, "no"], "more": 1})
    found = scored_accounts(Parts(predictions), InMemory(of_numbers), SCHEMA, list(BANDS))
    assert found.truth is not None
    assert found.truth.tolist() == [-1, 0, 0]


def test_bands_versions_and_probabilities_that_are_wrong_are_kept_for_the_report() -> None:
    wrong = predictions_of(
        ["a", "b", "c"], risk_band=["low", "Low", None], model_version=["4", None, "3"], probability=[0.5, np.nan, 2]
    )
    found = gathered(wrong, None)
    assert found.band.tolist() == [0, -1, -1]
    assert (found.unknown_bands, found.versions) == (["Low", "nan"], ["3", "4"])
    np.testing.assert_array_equal(found.probability, [0.5, np.nan, 2])
    assert gathered(predictions_of(["a"]).drop(columns="model_version"), None).versions == []


def test_faulty_outcomes() -> None:
    with pytest.raises(AccountsError, match="missing columns: left; the table has: key"):
        gathered(predictions_of(["a"]), pd.DataFrame({"key": ["a"]}))
    ids = ["a", "", "c", "d", "e", "f", "a", " "]
    with pytest.raises(AccountsError) as caught:
        gathered(predictions_of(["a"]), outcomes_of(ids, ["maybe", "no", "", "no", "no", "no", "no", "no"]))
    assert caught.value.subject == "outcomes of the scored accounts"
    assert caught.value.faults == [
        "key: 2 values are empty (rows 2, 8)",
        "key: 1 value is a repetition of an earlier id (row 7); an account has one row",
        f"left: 1 value is neither churned nor stayed, for example 'maybe' (row 1); {WAY_OUT}",
    ]
    many = [f"label {number}" for number in range(250)]
    with pytest.raises(AccountsError, match="left: 250 values are neither churned nor stayed, for example 'label 0'"):
        gathered(predictions_of(["a"]), outcomes_of(list(map(str, range(250))), many))


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_outcomes_are_read_with_id_and_label_alone(tmp_path: Path, name: str) -> None:
    options = {"filepath": str(tmp_path / name), "schema": SCHEMA.model_dump(mode="json")}
    table = outcomes_of(["007", "NA", "c"], ["Yes", "", "no"]).assign(size=["a", "b", "c"], kind="x")
    AccountsDataset(**options).save(table)
    (batch,) = OutcomeBatchesDataset(**options).load()
    assert list(batch) == ["key", "left"]
    check_as_whole(predictions_of(["NA", "c", "007", "7"]), batch)
