"""What the page and the workbook of the retention list have in common."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from churn.config import at_costs
from churn.retention.calls import Calls
from churn.retention.explained import TwoNumbers, two_numbers
from churn.retention.wording import amount_text
from churn.scoring import ListFacts, Record

NO_REASON = "No single reason stands out"


@dataclass(frozen=True)
class ListView:
    """A retention list as people see it: the accounts to act on, and what the list rests on.

    Attributes:
        record: The results of the run.
        facts: What the pages say beside the accounts.
    """

    record: Record
    facts: ListFacts

    @cached_property
    def accounts(self) -> pd.DataFrame:
        """The accounts to act on, the best first."""
        listed = self.record.retention_list
        return listed[listed["recommended_action"] == "yes"].reset_index(drop=True)

    @property
    def id_column(self) -> str:
        """Column of the ids."""
        return str(self.record.retention_list.columns[0])

    @cached_property
    def reason_columns(self) -> list[str]:
        """Columns with the sentences of the reasons, the strongest first."""
        names = map(str, self.record.retention_list.columns)
        return [name for name in names if name.startswith("reason_") and not name.endswith("_code")]

    @property
    def currency(self) -> str | None:
        """Currency of amounts, if it is known."""
        return self.facts.profit.currency

    @property
    def costs(self) -> str:
        """What belongs beside amounts of money that depend on example costs; empty if none do."""
        return at_costs(self.record.example_costs)

    @property
    def numbers(self) -> TwoNumbers:
        """The numbers of accounts at risk and to act on in words."""
        record = self.record
        threshold = float(record.profile["threshold"])
        return two_numbers(record.at_risk, record.to_act_on, threshold, self.facts.decision, self.currency)

    @property
    def why_act(self) -> str:
        """What makes an account one to act on, without their number."""
        return self.numbers.to_act_on.partition(": ")[2]

    def amount(self, number: float) -> str:
        """Return an amount with its currency."""
        return amount_text(number, self.currency)

    def notes(self) -> Iterator[tuple[Calls, str]]:
        """Yield the rows of the table of calls, each with what is special about it."""
        plan, decision = self.facts.plan, self.facts.decision
        acted = len(self.accounts)
        is_first = decision.rule != "threshold" and decision.capacity_by is None
        for step in plan.steps:
            said = []
            if step.calls == acted and is_first:
                said.append("the accounts to act on")
            if step.calls == plan.pays:
                said.append("the last that pays" if not plan.all_pay else "the end of the list; more accounts may pay")
            yield step, "; ".join(said)

    def assumptions(self) -> list[tuple[str, str | float, str]]:
        """Return what the list rests on: name, value and unit or meaning."""
        profit, decision, record = self.facts.profit, self.facts.decision, self.record
        money = self.currency or "currency"
        example = dict.fromkeys(record.example_costs, "an example; set it in profit")
        rules = {
            "profit": "accounts with an expected profit above 0",
            "capacity": "the accounts with the highest expected profit",
            "threshold": "accounts at risk, whatever their expected profit",
        }
        rows: list[tuple[str, str | float, str]] = [
            ("Date of the data", record.as_of.isoformat(), ""),
            ("Model version", str(record.model.get("version") or ""), ""),
            ("Accounts scored", record.rows, ""),
            ("At risk", record.at_risk, self.numbers.at_risk),
            ("To act on", record.to_act_on, self.numbers.to_act_on),
            ("Expected profit", record.expected_profit, f"{money}, of acting on them {self.costs}".strip()),
            ("Expected cost", self.facts.cost, f"{money}, contacts and offers that are taken"),
            ("Contact cost", profit.contact_cost, example.get("contact_cost", f"{money} for each contact")),
            ("Offer cost", profit.offer_cost, example.get("offer_cost", f"{money} if the account takes it")),
            (
                "Save rate",
                profit.save_rate,
                profit.save_rate_sentence
                if profit.measured
                else example.get("save_rate", "chance that an offer keeps an account that leaves"),
            ),
            (
                "Account value",
                profit.account_value,
                f"{money}, where the column {profit.value_column} is empty"
                if profit.value_column
                else example.get("account_value", f"{money}, of keeping an account"),
            ),
            ("Rule", decision.rule, rules[decision.rule]),
        ]
        if decision.rule == "capacity":
            each = f"accounts for each {decision.capacity_by}" if decision.capacity_by else "accounts"
            rows.append(("Capacity", decision.capacity, each))
        if decision.minimum_gain > 0:
            rows.append(("Minimum gain", decision.minimum_gain, f"{money}, expected of each contact"))
        return [*rows, *self._campaign()]

    def _campaign(self) -> Iterator[tuple[str, str | float, str]]:
        """Yield what the list leaves out for a campaign, and why."""
        campaign = self.record.campaign or {}
        if campaign.get("holdout"):
            why = "accounts that are not called, drawn at random, so that the effect of the calls can be measured"
            yield "Campaign", campaign["campaign"], campaign["power"]["sentence"]
            yield "Kept back", campaign["held_out"], why
        for name, why in (("contacted_lately", "as they were lately"), ("asked_not_to_be", "as they must not be")):
            if left_out := campaign.get("not_contacted", {}).get(name):
                yield "Not contacted", left_out, f"accounts that would be, {why}"
        if campaign.get("order") == "effect":
            yield "Order", "effect", "by what a call is expected to change, as measured in campaigns"
