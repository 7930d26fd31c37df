"""What the campaign report says in words."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from churn.config import Profit, at_costs
from churn.experiment.always_valid import AlwaysValid
from churn.experiment.record import Counts


def _between(part: Mapping[str, float]) -> str:
    return f"between {part['low']:,.0f} and {part['high']:,.0f}"


def campaign_sentence(
    name: str,
    kept: Mapping[str, float],
    money: Mapping[str, float],
    always: AlwaysValid,
    *,
    known: int,
    complete: bool,
    profit: Profit,
) -> str:
    """Return what a manager wants to know of a campaign."""
    if not known:
        return f"No outcome of the campaign {name} is known yet."
    if not np.isfinite(kept["low"]) or not np.isfinite(always.low):
        return f"Too few outcomes of the campaign {name} are known to say what its calls did."
    ongoing = "" if complete else " so far, as the outcomes of others are not known yet"
    costs = f" {said}" if (said := at_costs([each for each in profit.examples if each != "save_rate"])) else ""
    net = f"and brought {money['value']:,.0f} net{costs}, {_between(money)}"
    if kept["low"] > 0:
        sentence = f"The calls of {name} kept {kept['value']:,.0f} accounts, {_between(kept)}, {net}{ongoing}."
        if always.high >= 0:
            sentence += (
                " That is the interval of a single look; over all looks it is not certain yet that they kept any."
            )
        return sentence
    if kept["high"] < 0:
        return (
            f"The calls of {name} drove accounts away: {-kept['value']:,.0f} more churned, between {-kept['high']:,.0f} and "
            f"{-kept['low']:,.0f}, {net}{ongoing}."
        )
    return f"Whether the calls of {name} kept accounts is not known yet: {_between(kept)}, {net}{ongoing}."


def verdict_sentence(verdict: str, together: Mapping[str, Any] | None) -> str:
    """Return what all campaigns together show."""
    if together is None:
        return "No outcome of an account that was to be called is known yet."
    known = together["known"]
    of = f"{known['called']:,} called accounts and {known['held_out']:,} that were kept back"
    always = together["always_valid"]
    if verdict == "help":
        return (
            f"The calls help: among {of}, they keep between {-100 * always['high']:.1f} and "
            f"{-100 * always['low']:.1f} of 100 called accounts."
        )
    if verdict == "harm":
        return f"The calls drive accounts away: among {of}, of 100 called accounts at least {100 * always['low']:.1f} more churn."
    return f"Whether the calls help is not known yet, after {of}."


def log_notes(counts: Counts) -> Iterator[str]:
    """Yield what the log has beyond the campaigns."""
    if counts.logged is None:
        yield (
            "There is no log of contacts: each called account counts as contacted, and each that stayed as one that took the "
            "offer"
        )
        return
    if counts.outside:
        yield f"{counts.outside:,} of {counts.logged:,} contacts in the log are with accounts that were on no list"
    if counts.elsewhere:
        yield f"{counts.elsewhere:,} contacts name a campaign or a day in which the account was in no campaign"
    if counts.waiting:
        yield f"{counts.waiting:,} rows of the log have neither date nor result: nobody has contacted these accounts yet"
