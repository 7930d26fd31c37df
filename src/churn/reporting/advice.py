"""What to do about the findings of a health report, in the order of the page."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from churn.tables import humanize

# Columns that are named in one sentence; the table below has all.
MOST_NAMED = 4


class Advice(NamedTuple):
    """What to do about findings of one kind.

    Attributes:
        status: ``watch`` or ``alarm``, the most severe of them.
        title: What was found, with the columns.
        ask: What to find out.
        then: What to do with the answer.
    """

    status: str
    title: str
    ask: str
    then: str


def advice_of(health: Mapping[str, Any]) -> list[Advice]:
    """Return what to do about the findings of a health report, alarms first.

    Args:
        health: Result of ``churn.monitoring.health.health_metrics``, or the same read from JSON.
    """
    found = sorted(_all(health), key=lambda each: each.status != "alarm")
    if found or health["status"] == "ok":
        return found
    asked = "Are they expected? docs/monitoring.md has the meaning of every finding."
    then = "If so, use the scores." if health["status"] == "watch" else "If not, correct the cause and score again."
    return [Advice(health["status"], "Look at the points above", asked, then)]


def _all(health: Mapping[str, Any]) -> Iterator[Advice]:
    limits = health["limits"]
    if health["total_samples"] == 0:
        yield Advice("alarm", "No accounts were scored", "Is the table empty?", "Correct the table and score again.")
    elif health["unique_accounts"] < health["total_samples"]:
        yield Advice(
            "watch",
            "Accounts are repeated",
            "Does the table have accounts twice?",
            "Keep one row for each account and score again.",
        )
    moved = [entry for entry in health["drift"] if entry["status"] != "ok"]
    lost = [
        entry for entry in moved if not entry["missing_by_chance"] and _rise(entry) >= limits["missing_rise"] - 1e-12
    ]
    new = [
        entry
        for entry in moved
        if entry["kind"] == "categorical"
        and not entry["unseen_by_chance"]
        and (entry["unseen_share"] or 0.0) > 0
        and (entry["unseen_share"] or 0.0) >= limits["unseen_share"] - 1e-12
    ]
    drifted = [
        entry for entry in moved if not entry["moved_by_chance"] and (entry["psi"] or 0.0) >= limits["psi_watch"]
    ]
    if lost:
        yield Advice(
            "alarm",
            f"Values are missing in {_named(lost)}",
            "Did an export fail, or has a source stopped delivering?",
            "Correct the source and score again. The model fills gaps as at training, so the scores stay usable for a while.",
        )
    if new:
        yield Advice(
            "alarm",
            f"{_named(new)} {'has' if len(new) == 1 else 'have'} categories that training did not have",
            "Are they new, or known ones with another spelling?",
            "Correct the spelling and score again. If they are new, train again once they have outcomes.",
        )
    if drifted:
        yield Advice(
            "alarm" if any((entry["psi"] or 0.0) >= limits["psi_alarm"] for entry in drifted) else "watch",
            f"{_named(drifted)} {'is' if len(drifted) == 1 else 'are'} distributed otherwise than at training",
            "Did the business change (prices, a new market), or did the way the column is computed change (unit, source, time "
            "zone)?",
            "If it is computed otherwise, correct its source and score again. If the business changed, train again as soon as "
            "outcomes of the new accounts are known.",
        )
    if (scores := health["score_drift"]) and scores["status"] != "ok":
        yield Advice(
            scores["status"],
            "The scores are distributed otherwise than at training",
            "Which columns have moved, and do they drive the scores?",
            "If an important column is broken, correct it and score again. If no column moved, check which version of the "
            "model was used.",
        )
    real = health["realised_performance"] or {}
    if (status := real.get("roc_auc_status", "ok")) != "ok":
        yield Advice(
            status,
            "The scores rank the accounts less well than at training",
            "Do the outcomes cover all kinds of accounts? Did columns move as well?",
            "Train again with recent accounts. If that does not help, churn now has causes that the columns do not show.",
        )
    if (status := real.get("calibration_status", "ok")) != "ok":
        yield Advice(
            status,
            "The scores are off as probabilities",
            "Is the realised churn rate above or below the expected one? Are the outcomes complete?",
            "The order of the accounts may still be right: compare ROC AUC. Do not use the scores as probabilities. Train again.",
        )


def _rise(entry: Mapping[str, Any]) -> float:
    return float((entry["missing_analysis"] or 0.0) - (entry["missing_reference"] or 0.0))


def _named(entries: list[Mapping[str, Any]]) -> str:
    names = [humanize(entry["column"]) for entry in entries[:MOST_NAMED]]
    if more := len(entries) - len(names):
        names.append(f"{more} more column{'s' if more > 1 else ''}")
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
