"""Scores of a table in batches are those of the whole table, and so is what follows from them."""

from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest

from churn.config import AccountSchema, Decision, Profit, Reasons
from churn.model import ChurnModel
from churn.model.profile import count_profile
from churn.retention import expected_profit
from churn.retention.profit import choose
from churn.scoring import Record, select
from churn.scoring.run import PROBABILITY, VALUE, Candidates, ScoringRun
from churn.tables import CheckedBatches
from tests.conftest import in_batches

ROWS = 1000


@pytest.fixture(scope="module")
def accounts(canonical: pd.DataFrame, schema: AccountSchema) -> pd.DataFrame:
    return canonical.drop(columns=schema.label.column).head(ROWS)


def scored(
    accounts: pd.DataFrame, model: ChurnModel, rows: int, decision: Decision, **changes: Any
) -> tuple[pd.DataFrame, Record]:
    run = ScoringRun(
        CheckedBatches(in_batches(accounts, rows), model.schema, model, "accounts"),
        model,
        selection=select({"name": "t.csv", "bytes": 1, "sha256": "00"}, {}, "m"),
        as_of=date(2026, 11, 1),
        **{"decision": decision, "reasons": Reasons(), **changes},
    )
    return pd.concat(run.batches(), ignore_index=True), run.record()


@pytest.mark.parametrize("rule", ["profit", "threshold", "capacity"])
@pytest.mark.parametrize("length", [50, 100_000])
def test_batches_do_not_matter(
    accounts: pd.DataFrame, model: ChurnModel, rule: Any, length: int, value_column: str
) -> None:
    decision = Decision(rule=rule, capacity=70, list_length=length)
    profit = Profit(value_column=value_column)
    whole, expected = scored(accounts, model, ROWS, decision, profit=profit)
    parts, record = scored(accounts, model, 37, decision, profit=profit)
    pd.testing.assert_frame_equal(parts, whole)
    pd.testing.assert_frame_equal(record.retention_list, expected.retention_list)
    assert record.expected_profit == pytest.approx(expected.expected_profit, abs=0.02)
    assert (record.rows, record.at_risk, record.to_act_on) == (expected.rows, expected.at_risk, expected.to_act_on)
    assert record.profile == expected.profile
    assert record.source["rows"] == ROWS
    assert len(record.retention_list) == min(length, ROWS)


@pytest.fixture(scope="module")
def value_column(schema: AccountSchema) -> str:
    """A column that stands for the value of an account."""
    return next(item.column for item in schema.numeric if item.minimum is not None and item.minimum >= 0)


def test_the_figures_are_those_of_all_accounts(accounts: pd.DataFrame, model: ChurnModel, value_column: str) -> None:
    profit = Profit(value_column=value_column)
    predictions, record = scored(accounts, model, 100, Decision(rule="profit", list_length=20), profit=profit)
    probability = predictions["probability"].to_numpy()
    value = accounts[value_column].fillna(profit.account_value).to_numpy()
    gain = expected_profit(probability, value, profit)
    act = choose(probability, value, profit, Decision(rule="profit"), model.threshold)
    assert record.to_act_on == act.sum()
    assert record.expected_profit == pytest.approx(np.round(gain[act], 2).sum(), abs=0.02)
    assert record.at_risk == (probability >= model.threshold).sum()
    assert record.profile["scored"] == count_profile(model.reference, accounts, probability).to_dict()
    best = accounts["account_id"].iloc[np.argsort(-gain, kind="stable")[:20]]
    assert set(record.retention_list["account_id"]) == set(best)
    assert record.retention_list["reason_1"].notna().any()


def test_capacity_is_filled_beyond_the_list(accounts: pd.DataFrame, model: ChurnModel) -> None:
    _, record = scored(accounts, model, 100, Decision(rule="capacity", capacity=30, list_length=10), profit=Profit())
    assert record.to_act_on == 30
    assert len(record.retention_list) == 10
    assert (record.retention_list["recommended_action"] == "yes").all()


def test_the_best_are_those_that_the_list_begins_with() -> None:
    candidates = Candidates(3, "account_id")
    frame = pd.DataFrame({"account_id": list("abcdefgh")})
    probability = np.array([0.1, 0.9, 0.9, 0.1, 0.9, 0.5, 0.1, 0.2], dtype=np.float32)
    gain = np.array([5.0, 5.0, 5.0, 5.0, 5.0, 7.0, 1.0, 5.0])
    for row in range(8):
        one = slice(row, row + 1)
        candidates.add(frame.iloc[one], probability[one], gain[one], gain[one])
    assert candidates.best()["account_id"].tolist() == ["b", "c", "f"]


def test_the_label_that_means_stayed_is_published_for_monitoring(accounts: pd.DataFrame, model: ChurnModel) -> None:
    def profile_of(model: ChurnModel) -> dict[str, Any]:
        return scored(accounts, model, 100, Decision(list_length=1), profit=Profit())[1].profile

    assert "stayed" not in profile_of(model)
    assert profile_of(replace(model, schema=model.schema.taking_for_stayed(["here"])))["stayed"] == ["here"]


def test_a_column_of_the_accounts_may_be_called_like_a_score() -> None:
    candidates = Candidates(2, "account_id")
    frame = pd.DataFrame({"account_id": list("abc"), "probability": [7.0, 8.0, 9.0], "value": [1.0, 2.0, 3.0]})
    candidates.add(frame, np.array([0.1, 0.2, 0.3], dtype=np.float32), np.full(3, 600.0), np.array([1.0, 3.0, 2.0]))
    best = candidates.best()
    pd.testing.assert_frame_equal(best[list(frame)], frame.iloc[1:].reset_index(drop=True))
    assert best[VALUE].tolist() == [600.0, 600.0]
    assert best[PROBABILITY].tolist() == np.array([0.2, 0.3], dtype=np.float32).tolist()


def test_nothing_scored_has_no_record(accounts: pd.DataFrame, model: ChurnModel) -> None:
    run = ScoringRun(
        CheckedBatches(in_batches(accounts, ROWS), model.schema, model, "accounts"),
        model,
        selection=select({"name": "t.csv", "sha256": ""}, {}, "m"),
        as_of=date(2026, 11, 1),
        profit=Profit(),
        decision=Decision(),
        reasons=Reasons(),
    )
    with pytest.raises(ValueError, match="no batch"):
        run.record()
