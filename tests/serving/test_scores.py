"""What `POST /v1/score` answers: the scores of the batch path, its faults in its words, reasons, and decisions."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from churn.config import AccountSchema, Parameters, Reasons
from churn.errors import AccountsError
from churn.model import ChurnModel
from churn.retention import account_values, expected_profit, explain_accounts
from churn.retention.order import in_cents
from churn.retention.profit import choose
from churn.retention.reasons import offer_costs
from churn.retention.terms import Terms
from churn.tables import check_accounts
from tests.serving.driving import Driven, records_of


def test_scores_are_those_of_the_batch_to_the_last_bit(
    driven: Driven, model: ChurnModel, accounts: pd.DataFrame, schema: AccountSchema
) -> None:
    expected = model.score(accounts)
    for rows in (1, 2, 7, 100):
        answer = driven.score(records_of(accounts.head(rows)))
        assert answer.status == 200
        content = answer.json
        scores = pd.DataFrame(content["scores"])
        batch = expected.head(rows)
        assert (
            scores["probability"].to_numpy().astype(np.float32).tobytes() == batch["probability"].to_numpy().tobytes()
        )
        assert scores["id"].tolist() == batch[schema.id].tolist()
        assert scores["prediction"].tolist() == batch["prediction"].tolist()
        assert scores["risk_band"].tolist() == batch["risk_band"].astype(str).tolist()
        assert content["model"] == {"version": "1", "sha256": model.sha256, "run_id": "0" * 32}
        assert set(scores.columns) == {"id", "probability", "prediction", "risk_band"}


cells = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-5, 200),
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(-2, 4),
    st.text(max_size=8),
    st.sampled_from(
        ["", "NA", "retail", "1", " 7 ", "1e3", "True", "2024-05-01 00:00:00", "-999", "1,5", "##", "\x00", "é"]
    ),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=2), st.none(), max_size=1),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_cell_means_the_same_as_in_a_batch(
    driven: Driven, model: ChurnModel, accounts: pd.DataFrame, schema: AccountSchema, data: st.DataObject
) -> None:
    columns = [schema.id, *schema.numeric_names, *schema.categorical]
    row = records_of(accounts.sample(1, random_state=data.draw(st.integers(0, 1000))))[0]
    for name in data.draw(st.lists(st.sampled_from(columns), max_size=4, unique=True)):
        row[name] = data.draw(cells)
    answer = driven.score([row])
    frame = pd.DataFrame({name: pd.Series([row[name]], dtype=object) for name in columns})
    if answer.status == 200:
        table = check_accounts(frame, schema, subject="accounts", labelled=False).accounts
        [score] = answer.json["scores"]
        assert np.float32(score["probability"]) == model.score(table)["probability"].iloc[0]
    else:
        assert answer.status == 422, answer.content
        with pytest.raises(AccountsError) as error:
            check_accounts(frame, schema, subject="accounts", labelled=False)
        assert {fault["message"] for fault in answer.json["faults"]} == set(error.value.faults)


def test_reasons_are_those_of_the_retention_list(
    driven: Driven, model: ChurnModel, accounts: pd.DataFrame, parameters: Parameters
) -> None:
    some = accounts.head(40).reset_index(drop=True)
    terms = Terms.of(model.encoder, model.reference)
    told = explain_accounts(model.explain_terms, some, model.probability(some), terms, parameters.reasons)
    content = driven.score(records_of(some), reasons=3).json
    for score, (_, row) in zip(content["scores"], told.words.iterrows(), strict=True):
        expected = [(row[f"reason_{rank}_code"], row[f"reason_{rank}"]) for rank in (1, 2, 3)]
        assert [(each["code"], each["text"]) for each in score["reasons"]] == [
            each for each in expected if each[0] == each[0]
        ]
        contributions = [each["contribution"] for each in score["reasons"]]
        assert contributions == sorted(contributions, reverse=True)
        assert all(each > 0 for each in contributions)
    assert [score["other"] for score in content["scores"]] == told.other.tolist()


@pytest.mark.parametrize("rule", ["profit", "threshold", "capacity"])
@pytest.mark.parametrize("column", [None, "login_count_p1m"])
def test_decisions_are_those_of_a_batch(
    model: ChurnModel, accounts: pd.DataFrame, parameters: Parameters, rule: Any, column: str | None
) -> None:
    profit = parameters.profit.model_copy(update={"value_column": column})
    decision = parameters.decision.model_copy(update={"rule": rule})
    driven = Driven(parameters.model_copy(update={"profit": profit, "decision": decision}), model)
    some = accounts.head(50)
    content = driven.score(records_of(some), decision=True).json
    decided = pd.DataFrame([score["decision"] for score in content["scores"]])
    value, probability = account_values(some, profit), model.probability(some)
    assert decided["account_value"].tolist() == value.tolist()
    assert decided["expected_profit"].tolist() == in_cents(expected_profit(probability, value, profit)).tolist()
    if rule == "capacity":  # depends on all accounts together
        assert decided["act"].isna().all()
    else:
        assert decided["act"].tolist() == choose(probability, value, profit, decision, model.threshold).tolist()
    assert content["decision"]["rule"] == rule


def test_decisions_use_the_costs_of_the_actions_of_a_batch(
    model: ChurnModel, accounts: pd.DataFrame, parameters: Parameters
) -> None:
    texts = [
        {"column": "payments_p1m_vs_prev_month_ratio", "actions": [{"case": "low", "action": "plan", "cost": 5}]},
        {"column": "login_count_p1m", "actions": [{"action": "training", "cost": 120}]},
    ]
    reasons = Reasons(texts=texts, count=2, minimum_probability=0.1)
    driven = Driven(parameters.model_copy(update={"reasons": reasons}), model)
    some = accounts.head(60)
    probability, terms = model.probability(some), Terms.of(model.encoder, model.reference)
    explained = explain_accounts(model.explain_terms, some, probability, terms, reasons)
    offer = offer_costs(explained.actions, reasons, parameters.profit)
    gain = in_cents(expected_profit(probability, 600, parameters.profit, offer))
    for count in (0, 1, 5):  # the number of reasons that are asked for does not matter
        content = driven.score(records_of(some), decision=True, reasons=count).json
        decided = pd.DataFrame([score["decision"] for score in content["scores"]])
        assert decided["suggested_action"].fillna("").tolist() == explained.suggestions(reasons).fillna("").tolist()
        assert decided["expected_profit"].tolist() == gain.tolist()
        assert decided["act"].tolist() == (gain > 0).tolist()
        assert max(len(score.get("reasons", [])) for score in content["scores"]) == count or count == 5
    assert set(decided["suggested_action"].dropna()) == {"plan", "training"}


def test_all_faults_are_told_by_row_and_field(driven: Driven, accounts: pd.DataFrame) -> None:
    rows: list[Any] = records_of(accounts.head(6))
    rows[1]["login_count_p1m"] = "many"
    rows[1]["payment_methods_active_count"] = 99
    rows[2]["account_id"] = None
    del rows[3]["revenue_trend"]
    rows[4] = [1, 2]
    answer = driven.score(rows)
    assert answer.status == 422
    content = answer.json
    assert content["error"]["code"] == "invalid_rows"
    told = [(fault["row"], fault["field"]) for fault in content["faults"]]
    assert sorted(told, key=str) == sorted(
        [
            (2, "login_count_p1m"),
            (2, "payment_methods_active_count"),
            (3, "account_id"),
            (4, "revenue_trend"),
            (5, None),
        ],
        key=str,
    )
    messages = {(fault["row"], fault["field"]): fault["message"] for fault in content["faults"]}
    assert "above the maximum of 5" in messages[2, "payment_methods_active_count"]
    assert "not a number" in messages[2, "login_count_p1m"]

    partly = driven.score(rows, partial=True)
    assert partly.status == 200
    assert [score is None for score in partly.json["scores"]] == [False, True, True, True, True, False]
    assert partly.json["faults"] == content["faults"]
    assert partly.json["scores"][5] == driven.score(rows[5:]).json["scores"][0]
    nothing = driven.score(rows[4:5], partial=True).json
    assert nothing["scores"] == [None]


def test_columns_that_are_not_used_are_told(
    driven: Driven, parameters: Parameters, model: ChurnModel, accounts: pd.DataFrame
) -> None:
    row = {**records_of(accounts.head(1))[0], "colour": "red", "is_churned": "yes"}
    answer = driven.score([row])
    assert answer.status == 200
    assert answer.json["notes"] == ["columns that are not used: colour, is_churned"]


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"", 415, "application/json"),
        (b"{", 400, "not JSON"),
        (b"[]", 422, "object"),
        (b"null", 422, "object"),
        (b'{"rows": []}', 422, "one row or more"),
        (b'{"rows": 5}', 422, "one row or more"),
        (b'{"rows": [{}], "reason": 3}', 422, "did you mean reasons"),
        (b'{"rows": [{}], "reasons": true}', 422, "from 0 to 20"),
        (b'{"rows": [{}], "reasons": 21}', 422, "from 0 to 20"),
        (b'{"rows": [{}], "decision": 1}', 422, "true or false"),
        (b'{"rows": [{}], "as_of": "tomorrow"}', 422, "2026-01-31"),
        (b'{"rows": [{}], "as_of": 5}', 422, "2026-01-31"),
        (b'{"rows": [{"a": NaN}]}', 400, "NaN"),
        (b'{"rows": [{"a": "\\ud800"}]}', 400, "UTF-8"),
        (b'{"rows": ["\xff"]}', 400, "UTF-8"),
        (b'{"rows": [{"a": ' + b"9" * 5000 + b"}]}", 400, "not JSON"),
        (b"[" * 100_000, 400, "not JSON"),
        (b'{"a":' * 20_000 + b"1" + b"}" * 20_000, 400, "not JSON"),
    ],
)
def test_what_is_no_request_is_refused_with_its_reason(driven: Driven, body: bytes, status: int, says: str) -> None:
    answer = driven.ask("POST", "/v1/score", body)
    assert answer.status == status
    assert says in answer.json["error"]["message"]


def test_as_of_is_that_of_the_request(driven: Driven, accounts: pd.DataFrame) -> None:
    rows = records_of(accounts.head(1))
    assert driven.score(rows, as_of="2025-02-28").json["as_of"] == "2025-02-28"


def test_large_requests_are_scored_in_a_thread_with_the_same_result(
    driven: Driven, model: ChurnModel, accounts: pd.DataFrame
) -> None:
    rows = records_of(accounts.head(300))
    answer = driven.ask("POST", "/v1/score", json.dumps({"rows": rows}).encode(), parts=50)
    assert answer.status == 200
    scores = [score["probability"] for score in answer.json["scores"]]
    assert np.float32(scores).tobytes() == model.probability(accounts.head(300)).tobytes()
