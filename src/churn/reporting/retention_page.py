"""The retention list as a self-contained HTML page, for a screen and for paper."""

from typing import Any

from churn.reporting.pages import page_environment
from churn.reporting.retention_view import NO_REASON, ListView
from churn.retention.calls import CallPlan
from churn.scoring import Record
from churn.tables import humanize


def render_retention_page(record: Record) -> str:
    """Render the page of a retention list: the accounts to act on, the best first, and what calling them brings.

    Args:
        record: The results of a run, with their facts.

    Returns:
        A complete HTML page with styles and drawings inside, without scripts, links to other places or other files, with
        at most ``decision.page_length`` accounts. All texts that come from data are escaped. Equal input results in equal
        bytes.

    Raises:
        ValueError: If the record has no facts.
    """
    if record.facts is None:
        raise ValueError("the record has no facts, which the page shows")
    view = ListView(record, record.facts)
    page = page_environment().get_template("retention_list.html.j2")
    return page.render(
        view=view,
        record=record,
        language=view.facts.language,
        accounts=_accounts(view),
        has_actions=bool(view.accounts["suggested_action"].notna().any()),
        steps=[{**step._asdict(), "note": note} for step, note in view.notes()],
        curve=_curve(view.facts.plan, len(view.accounts) if view.facts.decision.capacity_by is None else None),
        assumptions=view.assumptions(),
    )


def _accounts(view: ListView) -> list[dict[str, Any]]:
    """Return the accounts of the page."""
    shown = view.accounts.head(view.facts.decision.page_length)
    own = list(view.facts.own_columns)
    found = []
    for place, row in enumerate(shown.to_dict("records"), start=1):
        # A line does not break before the sign.
        reasons = [
            row[name].replace(" %", "\N{NO-BREAK SPACE}%") for name in view.reason_columns if isinstance(row[name], str)
        ]
        found.append(
            {
                "place": place,
                "id": row[view.id_column],
                "own": [(humanize(name), row[name]) for name in own if isinstance(row[name], str)],
                "probability": float(row["probability"]),
                "band": str(row["risk_band"]),
                "value": view.amount(row["account_value"]),
                "gain": view.amount(row["expected_profit"]),
                "reasons": reasons,
                "no_reason": NO_REASON,
                "action": row["suggested_action"] if isinstance(row["suggested_action"], str) else None,
            }
        )
    return found


def _curve(plan: CallPlan, acted: int | None) -> dict[str, Any] | None:
    """Return the curve of the profit in a drawing of 100 by 100, with its marks; None without calls."""
    most = plan.curve[-1][0]
    if not most:
        return None
    sums = [profit for _, profit in plan.curve]
    low, high = min(sums), max(sums)
    height = (high - low) or 1.0

    def down(profit: float) -> float:
        return round(100 - 100 * (profit - low) / height, 2)

    def at(calls: int) -> float:
        return round(100 * calls / most, 2)

    marks = [{"x": at(plan.pays), "calls": plan.pays, "title": "stops paying"}] if 0 < plan.pays < most else []
    if acted and acted != plan.pays:
        marks.append({"x": at(acted), "calls": acted, "title": "to act on"})
    return {
        "points": " ".join(f"{at(calls)},{down(profit)}" for calls, profit in plan.curve),
        "zero": down(0.0),
        "high": high,
        "high_y": down(high),
        "low": low if low < 0 else None,
        "low_y": down(low),
        "most": most,
        "marks": marks,
    }
