"""The campaign report: what it measures, what it warns of, and the record behind it."""

import json
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest

from churn.config import AccountSchema, Experiment, Profit
from churn.errors import AccountsError, ChurnError
from churn.experiment import ContactLog, measured_campaigns
from churn.experiment.measure import flat_campaign_metrics
from churn.experiment.record import Counts, Record, known_outcomes, updated_record
from churn.reporting.campaign_report import render_campaign_report
from tests.conftest import InMemory

OWN = Profit(contact_cost=5, offer_cost=50, save_rate=0.3, account_value=600)


def record_of(accounts: int = 3_000, save_rate: float = 0.4, seed: int = 1, **columns: Any) -> pd.DataFrame:
    """The record of a campaign in which each called account is reached."""
    random = np.random.default_rng(seed)
    score = random.beta(2, 3, accounts)
    held = random.random(accounts) < 0.2
    churned = random.random(accounts) < score * np.where(held, 1, 1 - save_rate)
    rows = {
        "campaign": "2026-06",
        "account": [f"{seed}-{at}" for at in range(accounts)],
        "as_of": pd.Timestamp("2026-06-01"),
        "held_out": held,
        "share": 0.2,
        "probability": score,
        "risk_band": np.where(score < 0.4, "medium", "high"),
        "account_value": 600.0,
        "expected_profit": 1.0,
        "save_rate": 0.3,
        "model_version": "1",
        "attempts": (~held).astype(int),
        "reached": ~held,
        "accepted": ~held & (random.random(accounts) < 0.3),
        "contacted_at": pd.NaT,
        "churned": pd.array(churned.astype(int), dtype="Int8"),
        "x.country": random.choice(["de", "fr <b>", None], accounts),
    }
    return pd.DataFrame(rows | columns)


def measure(rows: pd.DataFrame, logged: int | None = 100, **settings: Any) -> dict[str, Any]:
    return measured_campaigns(Record(rows, Counts(logged)), OWN, Experiment(**settings), date(2026, 7, 1))


def test_a_known_effect_is_found_in_all_its_forms() -> None:
    rows = record_of()
    report = measure(rows, segments=("country", "absent"))
    [last] = report["campaigns"]
    called = int((~rows["held_out"]).sum())
    expected = 0.4 * rows.loc[~rows["held_out"], "probability"].sum()
    assert last["kept"]["low"] < expected < last["kept"]["high"]
    assert last["kept"]["value"] == pytest.approx(-called * last["adjusted"]["value"])
    worth = 600 * expected - 5 * called - 50 * rows["accepted"].sum()
    assert last["money"]["low"] < worth < last["money"]["high"]
    assert report["verdict"] == "help"
    assert last["sentence"].startswith(f"The calls of 2026-06 kept {last['kept']['value']:,.0f} accounts, between ")
    assert report["sentence"].startswith("The calls help: among ")
    # All were reached, so the effect on those reached is that on all.
    assert last["reached_effect"]["value"] == pytest.approx(last["difference"]["value"])
    assert {level["level"] for level in last["bands"]} == {"medium", "high"}
    assert sum(level["called"] for level in last["segments"]["country"]) == called
    assert "absent" not in last["segments"]
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    metrics = flat_campaign_metrics(report)
    assert metrics["verdict"] == 1
    assert metrics["last/kept/value"] == last["kept"]["value"]


def test_no_effect_is_not_known_rather_than_none() -> None:
    report = measure(record_of(save_rate=0.0))
    assert report["verdict"] == "open"
    assert report["campaigns"][0]["sentence"].startswith("Whether the calls of 2026-06 kept accounts is not known yet")
    assert measure(record_of(save_rate=-0.5))["verdict"] == "harm"


def test_without_a_log_all_called_accounts_were_contacted_and_all_that_stayed_took_the_offer() -> None:
    rows = record_of()
    report = measure(rows.assign(attempts=0, reached=False, accepted=False), logged=None)
    [last] = report["campaigns"]
    assert (last["contacts"], last["reached_effect"]) == (None, None)
    assert report["notes"][0].startswith("There is no log of contacts")
    called, stayed = (~rows["held_out"]).sum(), ((rows["churned"] == 0) & ~rows["held_out"]).sum()
    costs = 600 * last["kept"]["value"] - last["money"]["value"]
    assert costs == pytest.approx(5 * called + 50 * stayed, rel=0.01)


def test_what_makes_a_comparison_doubtful_is_told() -> None:
    rows = record_of()
    assert measure(rows)["warnings"] == []
    [fewer] = measure(rows[~rows["held_out"] | (np.arange(len(rows)) % 2 == 0)])["warnings"]
    assert "which chance does not explain" in fewer
    late = rows["churned"].mask(~rows["held_out"] & (np.arange(len(rows)) % 5 == 0))
    [later] = measure(rows.assign(churned=late))["warnings"]
    assert "the outcome is known of 80% of the called accounts and of 100% of those kept back" in later
    leaked = rows.assign(attempts=rows["attempts"] + (rows["held_out"] & (np.arange(len(rows)) % 3 == 0)))
    [called] = measure(leaked)["warnings"]
    assert "were contacted all the same" in called


def test_campaigns_are_added_up_and_the_last_one_is_first() -> None:
    july = record_of(seed=2, campaign="2026-07", as_of=pd.Timestamp("2026-07-01"))
    report = measure(pd.concat([record_of(), july], ignore_index=True))
    assert [each["campaign"] for each in report["campaigns"]] == ["2026-07", "2026-06"]
    parts = [each["kept"] for each in report["campaigns"]]
    together = report["together"]["kept"]
    assert together["value"] == pytest.approx(sum(part["value"] for part in parts))
    widths = [part["high"] - part["low"] for part in parts]
    assert together["high"] - together["low"] == pytest.approx(np.hypot(*widths))


@pytest.mark.parametrize("rows", [0, 1, 2, 30])
def test_few_accounts_or_none_are_too_few(rows: int) -> None:
    report = measure(record_of().head(rows))
    assert report["verdict"] in ("none", "open")
    assert report["verdict"] == "none" or "Too few outcomes" in report["campaigns"][0]["sentence"]
    assert json.dumps(report, allow_nan=False)
    unknown = measure(record_of().head(rows).assign(churned=pd.array([None] * rows, dtype="Int8")))
    assert unknown["verdict"] == "none"


def test_the_page_shows_the_sentences_and_escapes_the_data() -> None:
    use = {
        "save_rate": {"value": 0.28, "certainty": 30.0, "low": 0.2, "high": 0.4},
        "assumed": 0.3,
        "measured": 0.25,
        "error": 0.05,
        "order": {"in_use": False, "reason": "too few"},
    }
    for rows in (record_of(), record_of().head(0), record_of().head(3)):
        report = measure(rows, segments=("country",))
        page = render_campaign_report({**report, "in_use": use})
        assert page == render_campaign_report(json.loads(json.dumps({**report, "in_use": use})))
        assert report["sentence"] in page
        assert "fr <b>" not in page
        assert "<script" not in page


def test_outcomes_are_checked_and_only_those_of_campaigns_are_kept(schema: AccountSchema) -> None:
    table = pd.DataFrame({schema.id: ["a", "b", "c", "z"], schema.label.column: ["true", "false", None, "true"]})
    found = known_outcomes(InMemory(table.head(2), table.tail(2)), schema, pd.Series(["a", "b", "c"]))
    assert found.to_dict() == {"a": 1, "b": 0}
    with pytest.raises(AccountsError, match="a repetition of an earlier id"):
        known_outcomes(InMemory(pd.concat([table, table])), schema, pd.Series(["a"]))
    with pytest.raises(AccountsError, match="missing columns"):
        known_outcomes(InMemory(table[[schema.id]]), schema, pd.Series(["a"]))


def cohort_of(*rows: tuple[str, str, str]) -> pd.DataFrame:
    known = record_of(len(rows)).drop(columns=["attempts", "reached", "accepted", "contacted_at", "churned"])
    names = pd.DataFrame(rows, columns=["campaign", "account", "as_of"])
    names["as_of"] = pd.to_datetime(names["as_of"]).astype("datetime64[s]")
    return known.assign(**{name: names[name] for name in names})


def test_an_outcome_belongs_to_the_last_campaign_and_what_is_known_stays() -> None:
    june = cohort_of(("june", "a", "2026-06-01"), ("june", "b", "2026-06-01"))
    first = updated_record(None, june, None, pd.Series({"a": 0, "b": 1})).rows
    assert first["churned"].tolist() == [0, 1]
    both = pd.concat([june, cohort_of(("july", "a", "2026-07-01"))], ignore_index=True)
    second = updated_record(first, both, None, pd.Series({"a": 1})).rows
    assert second.set_index(["campaign", "account"])["churned"].to_dict() == {
        ("june", "a"): 0,
        ("june", "b"): 1,
        ("july", "a"): 1,
    }
    named = updated_record(second, both, None, pd.Series({"a": 1}), "june").rows
    assert named.set_index(["campaign", "account"])["churned"][("june", "a")] == 1
    with pytest.raises(
        ChurnError, match=r"experiment\.outcomes_of = 'may': there is no such campaign; there are: july, june"
    ):
        updated_record(second, both, None, pd.Series({"a": 1}), "may")
    # Nothing new leaves it as it is.
    pd.testing.assert_frame_equal(updated_record(second, both, None, None).rows, second)
    pd.testing.assert_frame_equal(updated_record(second, None, None, None).rows, second)


def test_contacts_are_added_to_the_record_and_not_lost_with_the_log() -> None:
    cohort = cohort_of(("june", "a", "2026-06-01"), ("june", "b", "2026-06-01"))

    def log(account: str, day: str, *, accepted: bool) -> ContactLog:
        row = {"account": account, "campaign": None, "at": pd.Timestamp(day), "reached": True, "accepted": accepted}
        return ContactLog(pd.DataFrame([row | {"do_not_contact": False}]))

    first = updated_record(None, cohort, log("a", "2026-06-05", accepted=True), None)
    second = updated_record(first.rows, cohort, log("a", "2026-06-03", accepted=False), None)
    assert second.rows["accepted"].tolist() == [True, False]
    assert second.rows["contacted_at"].iloc[0] == pd.Timestamp("2026-06-03")
    assert second.rows["attempts"].tolist() == [1, 0]
    assert second.counts.logged == 1
    assert updated_record(None, None, log("a", "2026-06-05", accepted=True), None).counts.outside == 1
