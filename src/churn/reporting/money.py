"""The money on the model card: what acting on the scores brings, and what the threshold trades."""

from collections.abc import Mapping
from typing import Any

from churn.config import Profit, at_costs
from churn.reporting.pages import amount
from churn.retention.trade_off import TradeOff

# Names of the policies, in the order of the page.
POLICIES = {
    "profit": "Call where a call should pay",
    "threshold": "Call from the threshold of the model on",
    "random": "Call as many, picked at random",
    "everybody": "Call everybody",
    "nobody": "Call nobody",
}


def worth(traded: TradeOff, profit: Profit) -> dict[str, Any]:
    """Return the money of a model card as plain JSON types.

    Args:
        traded: Profits of the policies and thresholds on the test rows.
        profit: Costs and values that they are computed with.

    Returns:
        The result of `TradeOff.to_dict`, with ``currency``, ``at_costs`` (what belongs beside the amounts, perhaps empty),
        ``costs`` (the amounts that the profits depend on) and ``sentence``, without a full stop.
    """
    costs = at_costs(profit.examples)
    content = {
        **traded.to_dict(),
        "currency": profit.currency,
        "at_costs": costs,
        "costs": {
            "contact_cost": profit.contact_cost,
            "offer_cost": profit.offer_cost,
            "save_rate": profit.save_rate,
            "account_value": profit.account_value,
            "value_column": profit.value_column,
        },
    }
    return {**content, "sentence": _sentence(traded, profit.currency, costs)}


def _sentence(traded: TradeOff, currency: str | None, costs: str) -> str:
    chosen = traded.policies["profit"]
    others = ", ".join(
        f"{words} {amount(traded.policies[name].per_account, currency, 2)}"
        for name, words in (("everybody", "calling everybody"), ("random", "as many at random"))
    )
    where = f" {costs}" if costs else ""
    return (
        f"Calling the {chosen.called:,.0f} of {traded.accounts:,} test accounts where a call should pay brings "
        f"{amount(chosen.per_account, currency, 2)} per account{where}, {amount(chosen.profit, currency)} in all; {others} per "
        "account"
    )


def money_drawing(money: Mapping[str, Any]) -> dict[str, Any]:
    """Return the money with names of the policies, and a bar for the profit of each threshold.

    Bars are in a drawing of 100 by 10, to the right of ``zero`` if there is a profit and to its left if there is a loss.
    """
    made = [row["per_account"] for row in money["thresholds"]]
    low, high = min([0.0, *made]), max([0.0, *made])
    scale = 100 / (high - low) if high > low else 0.0
    best = max(money["thresholds"], key=lambda row: row["per_account"])
    rows = [
        {
            **row,
            "start": round((min(row["per_account"], 0.0) - low) * scale, 2),
            "length": round(abs(row["per_account"]) * scale, 2),
            "loss": row["per_account"] < 0,
            "used": row["threshold"] == money["threshold"],
            "best": row is best,
        }
        for row in money["thresholds"]
    ]
    return {
        **money,
        "zero": round(-low * scale, 2),
        "rows": rows,
        "best": best["threshold"],
        "named": [(words, money["policies"][name]) for name, words in POLICIES.items()],
        "chosen": money["policies"]["profit"],
    }
