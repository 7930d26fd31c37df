"""Scores of a table in batches are those of the whole table, and so is what follows from them."""

from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest

from churn.config import AccountSchema, Decision, Profit, Reasons
from churn.errors import ChurnError
from churn.model import ChurnModel
from churn.model.profile import count_profile
from churn.retention import expected_profit
from churn.retention.profit import choose
from churn.scoring import Record, select
from churn.scoring.candidates import MOST_GROUPS, PROBABILITY, VALUE, Candidates, check_groups
from churn.scoring.run import ScoringRun
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


@pytest.fixture(scope="module")
def owned(accounts: pd.DataFrame) -> pd.DataFrame:
    """Accounts with a name and an owner, whom some do not have."""
    owners = np.array(["Anna Öhler", "Bo", "", "Çelik"], dtype=object)
    places = np.arange(len(accounts)) ** 2 % 7 % 4
    return accounts.assign(name=[f"0{place} & Söhne" for place in range(len(accounts))], owner=owners[places])


WITH_COSTS = Reasons(
    texts=[
        {"column": "payments_p1m_vs_prev_month_ratio", "actions": [{"case": "low", "action": "plan", "cost": 5}]},
        {"column": "login_count_p1m", "actions": [{"action": "training", "cost": 120}]},
        {"column": "revenue_trend", "actions": [{"action": "call"}]},
    ]
)


def of_own(owned: pd.DataFrame, model: ChurnModel, schema: AccountSchema, rows: int, **terms: Any) -> Record:
    own = schema.model_copy(update={"carry": ("name", "owner")})
    run = ScoringRun(
        CheckedBatches(in_batches(owned, rows), own, model, "accounts"),
        model,
        selection=select({"name": "t.csv", "bytes": 1, "sha256": "00"}, {}, "m"),
        as_of=date(2026, 11, 1),
        carry=own.carry,
        **{"profit": Profit(), "decision": Decision(), "reasons": WITH_COSTS, **terms},
    )
    for _ in run.batches():
        pass
    return run.record()


def test_carried_columns_are_in_the_list_as_they_are(
    owned: pd.DataFrame, model: ChurnModel, schema: AccountSchema
) -> None:
    listed = of_own(owned, model, schema, 300).retention_list
    assert list(listed)[:3] == ["account_id", "name", "owner"]
    expected = owned.set_index("account_id").loc[listed["account_id"]]
    assert listed["name"].tolist() == expected["name"].tolist()
    assert listed["owner"].fillna("").tolist() == expected["owner"].tolist()


@pytest.mark.parametrize("rows", [50, ROWS])
def test_each_owner_has_a_capacity(owned: pd.DataFrame, model: ChurnModel, schema: AccountSchema, rows: int) -> None:
    decision = Decision(rule="capacity", capacity=12, capacity_by="owner", list_length=60)
    record = of_own(owned, model, schema, rows, decision=decision)
    everything = of_own(owned, model, schema, ROWS).retention_list
    paying = everything[everything["expected_profit"] > 0]
    best = paying.groupby("owner", dropna=False).head(12)
    chosen = record.retention_list[record.retention_list["recommended_action"] == "yes"]
    assert chosen["account_id"].tolist() == best["account_id"].tolist()
    assert record.to_act_on == len(best) > 12
    assert record.expected_profit == pytest.approx(best["expected_profit"].sum(), abs=1e-6)
    assert len(record.retention_list) == 60
    assert record.retention_list["expected_profit"].is_monotonic_decreasing


def test_too_many_owners_are_refused() -> None:
    check_groups("owner", MOST_GROUPS)
    with pytest.raises(ChurnError, match=r"decision\.capacity_by = 'owner': the column has 10,001 different values"):
        check_groups("owner", MOST_GROUPS + 1)


@pytest.mark.parametrize("minimum", [0.0, 20.0])
def test_order_decision_and_totals_use_the_costs_of_the_actions(
    owned: pd.DataFrame, model: ChurnModel, schema: AccountSchema, minimum: float
) -> None:
    decision = Decision(minimum_gain=minimum)
    record = of_own(owned, model, schema, 170, decision=decision)
    listed, facts = record.retention_list, record.facts
    assert facts is not None
    assert set(listed["suggested_action"].dropna()) == {"plan", "training", "call"}
    offer = listed["suggested_action"].map({"plan": 5.0, "training": 120.0}).fillna(50.0)
    gain = expected_profit(listed["probability"], listed["account_value"], Profit(), offer)
    np.testing.assert_array_equal(listed["expected_profit"], np.round(gain, 2) + 0.0)
    assert listed["expected_profit"].is_monotonic_decreasing
    act = (listed["expected_profit"] > 0) & (listed["expected_profit"] >= minimum)
    assert (listed["recommended_action"] == "yes").tolist() == act.tolist()
    assert record.to_act_on == act.sum()
    step = next(step for step in facts.plan.steps if step.calls == record.to_act_on)
    assert step.profit == record.expected_profit == round(listed["expected_profit"][act].sum(), 2)
    assert step.cost == facts.cost
    assert step.last >= minimum
    # Without costs of their own, another order.
    plain = Reasons(texts=[{"column": "login_count_p1m", "actions": [{"action": "training"}]}])
    other = of_own(owned, model, schema, 170, decision=decision, reasons=plain).retention_list
    assert other["account_id"].tolist() != listed["account_id"].tolist()
    # Below the probability from which there are reasons, there is no action and no cost of it.
    some = of_own(owned, model, schema, 170, reasons=WITH_COSTS.model_copy(update={"minimum_probability": 0.4}))
    low = some.retention_list[some.retention_list["probability"] < 0.4]
    assert low["suggested_action"].isna().all()
    gain = expected_profit(low["probability"], low["account_value"], Profit())
    np.testing.assert_array_equal(low["expected_profit"], np.round(gain, 2) + 0.0)


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
