"""A part of the accounts to call is kept back: flagged in the scores, not on the list, the same however the rows come."""

from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest

from churn.config import AccountSchema, Decision, Experiment, Policy, Profit
from churn.errors import ChurnError
from churn.experiment import ContactLog, campaign_for
from churn.experiment.assignment import drawn_rows
from churn.experiment.cohort import COLUMNS
from churn.model import ChurnModel
from churn.reporting.retention_page import render_retention_page
from churn.reporting.retention_view import ListView
from churn.scoring import CampaignRun
from tests.scoring.test_run import ROWS, accounts, scored

__all__ = ["accounts"]

DAY = date(2026, 11, 1)
HELD = Experiment(holdout=0.2)


def run_of(
    experiment: Experiment = HELD, policy: Policy | None = None, log: ContactLog | None = None, **more: Any
) -> CampaignRun:
    return CampaignRun(campaign_for(experiment, policy or Policy(), log, DAY, "account_id"), experiment, **more)


def log_of(*rows: tuple[str, str, bool]) -> ContactLog:
    """Contacts: account, day, and whether it asked not to be contacted."""
    frame = pd.DataFrame(rows, columns=["account", "at", "do_not_contact"])
    return ContactLog(frame.assign(at=pd.to_datetime(frame["at"]), campaign=None, reached=True, accepted=False))


@pytest.mark.parametrize("rule", ["profit", "threshold", "capacity"])
def test_batches_do_not_matter(accounts: pd.DataFrame, model: ChurnModel, rule: Any) -> None:
    decision = Decision(rule=rule, capacity=70)
    whole, expected = scored(accounts, model, ROWS, decision, profit=Profit(), campaign=run_of())
    parts, record = scored(accounts, model, 37, decision, profit=Profit(), campaign=run_of())
    pd.testing.assert_frame_equal(parts, whole)
    pd.testing.assert_frame_equal(record.retention_list, expected.retention_list)
    pd.testing.assert_frame_equal(record.campaign_accounts, expected.campaign_accounts)
    assert record.campaign == expected.campaign


def test_a_random_part_of_those_to_call_is_not_on_the_list(accounts: pd.DataFrame, model: ChurnModel) -> None:
    all_to_call = scored(accounts, model, 100, Decision(), profit=Profit())[1].retention_list
    all_to_call = set(all_to_call.loc[all_to_call["recommended_action"] == "yes", "account_id"])
    predictions, record = scored(accounts, model, 100, Decision(), profit=Profit(), campaign=run_of())
    held = set(predictions.loc[predictions["held_out"] == 1, "account_id"])
    listed = record.retention_list
    called = set(listed.loc[listed["recommended_action"] == "yes", "account_id"])
    assert held | called == all_to_call
    assert not held & set(listed["account_id"])
    assert held == {each for each in all_to_call if drawn_rows(pd.Series([each]), "2026-11", 42, 0.2)[0]}
    assert 0.1 < len(held) / len(all_to_call) < 0.3
    assert (record.to_act_on, record.campaign["to_call"]) == (len(called), len(called))
    assert record.campaign["held_out"] == len(held)
    assert record.campaign["campaign"] == "2026-11"
    cohort = record.campaign_accounts
    assert set(cohort.loc[cohort["held_out"], "account"]) == held
    assert set(cohort.loc[~cohort["held_out"], "account"]) == called
    assert list(cohort)[: len(COLUMNS)] == list(COLUMNS)
    assert "x.total_users_count" in cohort


def test_with_a_capacity_so_many_are_called_and_those_kept_back_rank_before_the_last(
    accounts: pd.DataFrame, model: ChurnModel
) -> None:
    rule = Decision(rule="capacity", capacity=60)
    predictions, record = scored(accounts, model, 100, rule, profit=Profit(), campaign=run_of())
    cohort = record.campaign_accounts
    called, held = cohort[~cohort["held_out"]], cohort[cohort["held_out"]]
    assert record.to_act_on == len(called) == 60
    assert held["expected_profit"].min() >= called["expected_profit"].min()
    assert 0 < len(held) < 40
    # Flagged are also those that the capacity does not reach this week, as they must not be called next week.
    assert (predictions["held_out"] == 1).sum() > len(held)


def test_a_list_that_ends_early_ends_the_comparison_too(accounts: pd.DataFrame, model: ChurnModel) -> None:
    _, record = scored(accounts, model, 100, Decision(list_length=30), profit=Profit(), campaign=run_of())
    cohort = record.campaign_accounts
    assert (~cohort["held_out"]).sum() == len(record.retention_list) == 30
    lowest = cohort.loc[~cohort["held_out"], "expected_profit"].min()
    assert (cohort.loc[cohort["held_out"], "expected_profit"] >= lowest).all()


def test_accounts_stay_in_a_campaign_and_in_their_group(accounts: pd.DataFrame, model: ChurnModel) -> None:
    first, second = accounts.head(600), accounts.tail(700)
    _, june = scored(first, model, 100, Decision(), profit=Profit(), campaign=run_of())
    later = run_of(earlier=june.campaign_accounts)
    _, both = scored(second, model, 100, Decision(), profit=Profit(), campaign=later)
    cohort = both.campaign_accounts
    assert not cohort.duplicated(["campaign", "account"]).any()
    pd.testing.assert_frame_equal(cohort.head(len(june.campaign_accounts)), june.campaign_accounts)
    assert both.campaign["accounts"] == len(cohort) > both.campaign["to_call"] + both.campaign["held_out"]
    # Without an experiment nobody is drawn, and the accounts of earlier campaigns are carried on.
    predictions, after = scored(
        second, model, 100, Decision(), profit=Profit(), campaign=CampaignRun(None, Experiment(), cohort)
    )
    assert "held_out" not in predictions
    pd.testing.assert_frame_equal(after.campaign_accounts, cohort)


def test_who_was_contacted_or_asked_not_to_be_is_not_on_the_list(
    accounts: pd.DataFrame, model: ChurnModel, schema: AccountSchema
) -> None:
    plain = scored(accounts, model, 100, Decision(), profit=Profit())[1].retention_list
    lately, long_ago, never = plain["account_id"].head(3)
    log = log_of((lately, "2026-10-25", False), (long_ago, "2026-08-01", False), (never, "2020-01-01", True))
    policy = Policy(days_between=30)
    _, record = scored(accounts, model, 100, Decision(), profit=Profit(), campaign=run_of(Experiment(), policy, log))
    listed = set(record.retention_list["account_id"])
    assert long_ago in listed
    assert not {lately, never} & listed
    assert record.campaign["not_contacted"] == {"contacted_lately": 1, "asked_not_to_be": 1}
    assert record.campaign_accounts is None
    column = schema.categorical[0]
    value = str(accounts[column].dropna().iloc[0])
    marked = accounts.assign(**{column: accounts[column].where(accounts[column] != value, "Yes")})
    _, record = scored(
        marked, model, 100, Decision(), profit=Profit(), campaign=run_of(HELD, Policy(do_not_contact=column))
    )
    assert not set(marked.loc[marked[column] == "Yes", "account_id"]) & set(record.retention_list["account_id"])


def test_the_page_of_the_list_says_what_is_left_out(accounts: pd.DataFrame, model: ChurnModel) -> None:
    run = run_of(HELD, Policy(), log_of((str(accounts["account_id"].iloc[0]), "2026-10-25", True)))
    profit = Profit().with_save_rate(0.25, 90.0, "measured in 2 campaigns with 900 called accounts")
    _, record = scored(accounts, model, 100, Decision(), profit=profit, campaign=run)
    rows = {name: (value, meaning) for name, value, meaning in ListView(record, record.facts).assumptions()}
    assert rows["Campaign"] == ("2026-11", record.campaign["power"]["sentence"])
    assert rows["Kept back"][0] == record.campaign["held_out"]
    assert rows["Save rate"] == (0.25, "0.25, measured in 2 campaigns with 900 called accounts")
    assert rows["Campaign"][1] in render_retention_page(record)


def test_too_few_kept_back_are_named_or_refused(accounts: pd.DataFrame, model: ChurnModel) -> None:
    few = Experiment(holdout=0.02)
    _, record = scored(accounts, model, 100, Decision(), profit=Profit(), campaign=run_of(few))
    assert "too few accounts are kept back" in record.campaign["power"]["too_small"]
    strict = Experiment(holdout=0.02, too_small="refuse")
    with pytest.raises(ChurnError, match=r"experiment.holdout = 0.02: too few .* Nothing was published"):
        scored(accounts, model, 100, Decision(), profit=Profit(), campaign=run_of(strict))


def test_a_table_in_which_nobody_is_worth_a_call(accounts: pd.DataFrame, model: ChurnModel) -> None:
    dear = Profit(contact_cost=1e6)
    predictions, record = scored(accounts, model, 100, Decision(), profit=dear, campaign=run_of())
    assert not np.any(predictions["held_out"])
    assert len(record.campaign_accounts) == 0
    assert record.campaign["power"]["power"] == 0
    _, one = scored(accounts.head(1), model, 100, Decision(), profit=Profit(), campaign=run_of())
    assert one.campaign["to_call"] + one.campaign["held_out"] <= 1


def test_with_a_capacity_by_owner_those_kept_back_rank_before_the_last_of_their_owner(
    accounts: pd.DataFrame, model: ChurnModel, schema: AccountSchema
) -> None:
    column = "operating_country"
    rule = Decision(rule="capacity", capacity=3, capacity_by=column)
    _, record = scored(accounts, model, 100, rule, profit=Profit(), campaign=run_of())
    cohort = record.campaign_accounts
    assert cohort["held_out"].sum() > 0
    for _, rows in cohort.groupby(f"x.{column}", dropna=False):
        called, held = rows[~rows["held_out"]], rows[rows["held_out"]]
        assert len(called) <= 3
        if len(called) == 3 and len(held):
            assert held["expected_profit"].min() >= called["expected_profit"].min()
