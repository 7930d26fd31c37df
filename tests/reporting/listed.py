"""A retention list with names from everywhere, for the tests of its page and its workbook."""

from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from churn.config import Decision, Profit
from churn.retention import retention_list
from churn.retention.calls import call_plan
from churn.retention.order import best_first
from churn.retention.profit import choose, expected_cost, expected_profit
from churn.scoring import ListFacts, Record

NAMES = (
    "Müller & Söhne",
    '=HYPERLINK("http://x.example","click")',
    "+49 30 123",
    "日本商事",
    "<script>alert(1)</script>",
    "O'Brien, Ltd\nzweite Zeile",
    "_x0041_ \x01\x0b",
    "👩‍💻" * 20,
    "",
    "1E5",
)


def record_of(rows: int = 30, profit: Profit | None = None, **decision: Any) -> Record:
    """A record whose accounts have probabilities from high to low; those that do not pay are on the list too."""
    costs, rule = (
        profit or Profit(contact_cost=5, offer_cost=50, save_rate=0.3, account_value=600),
        Decision(**decision),
    )
    chance = np.linspace(0.95, 0.05, rows).astype(np.float32) if rows else np.empty(0, np.float32)
    ids = [f"{place:06d}" for place in range(rows)]
    scores = pd.DataFrame(
        {
            "account_id": ids,
            "probability": chance,
            "risk_band": pd.Categorical(["high"] * rows),
            "model_version": "3",
        }
    )
    gain, cost = expected_profit(chance, 600, costs), expected_cost(chance, costs)
    own = pd.DataFrame(
        {
            "name": [NAMES[place % len(NAMES)] or None for place in range(rows)],
            "owner": [("Anna", None)[place % 2] for place in range(rows)],
        },
        dtype="str",
    )
    reasons = pd.DataFrame(
        {
            "reason_1_code": ["X_LOW" if place % 5 else None for place in range(rows)],
            "reason_1": [f"{place} of 19 <b>users</b> active (16 %)" if place % 5 else None for place in range(rows)],
            "reason_2_code": [None] * rows,
            "reason_2": [None] * rows,
        },
        dtype="str",
    )
    suggestions = pd.Series(["Ratenzahlung anbieten" if place % 3 else None for place in range(rows)], dtype="str")
    act = choose(chance, 600, costs, rule, 0.5, ids)
    day = date(2026, 11, 2)
    listed = retention_list(scores, np.full(rows, 600.0), gain, act, reasons, day, carried=own, suggestions=suggestions)
    order = best_first(gain, chance, ids)
    plan = call_plan(gain[order], cost[order], int(act.sum()))
    return Record(
        rows=rows,
        at_risk=int((chance >= 0.5).sum()),
        profile={"threshold": 0.5},
        model={"version": "3"},
        source={"name": "accounts.csv"},
        as_of=day,
        to_act_on=int(act.sum()),
        expected_profit=round(float(listed["expected_profit"][listed["recommended_action"] == "yes"].sum()), 2),
        retention_list=listed,
        ledger={},
        example_costs=costs.examples,
        facts=ListFacts(("name", "owner"), costs, rule, "de", plan, round(float(cost[act].round(2).sum()), 2)),
    )


def to_act_on(record: Record) -> pd.DataFrame:
    """The accounts to act on."""
    listed = record.retention_list
    return listed[listed["recommended_action"] == "yes"].reset_index(drop=True)
