"""What the calls of the campaigns have brought: the content of the campaign report."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn.config import Experiment, Profit
from churn.experiment.always_valid import AlwaysValid, Terms, always_valid_mean, doubly_robust, enough
from churn.experiment.cohort import FEATURE
from churn.experiment.effect import (
    Difference,
    adjusted_difference,
    compliers_effect,
    difference_of_shares,
    holm,
    wilson,
)
from churn.experiment.record import Record
from churn.experiment.sentences import campaign_sentence, log_notes, verdict_sentence
from churn.tables import plain

SCHEMA_VERSION = 1
# Below these probabilities chance does not explain that groups differ in size, or in what is known of them.
RATIO_CHANCE, KNOWN_CHANCE = 0.001, 0.01
# Share of the outcomes from which a campaign counts as complete.
COMPLETE = 0.9


class Rows(NamedTuple):
    """Accounts of one or several campaigns whose outcome is known, as arrays of shape (n,)."""

    churned: NDArray[np.float64]
    called: NDArray[np.bool_]
    score: NDArray[np.float64]
    money: NDArray[np.float64]
    loss: NDArray[np.float64]
    reached: NDArray[np.bool_]
    terms: Terms

    def __len__(self) -> int:
        return len(self.churned)

    def only(self, mask: NDArray[np.bool_]) -> "Rows":
        """Return some of the accounts."""
        return Rows(
            self.churned[mask],
            self.called[mask],
            self.score[mask],
            self.money[mask],
            self.loss[mask],
            self.reached[mask],
            Terms(self.terms.effect[mask], self.terms.baseline[mask]),
        )


def rows_of(record: pd.DataFrame, profit: Profit, *, logged: bool) -> Rows:
    """Return the accounts of a record whose outcome is known.

    The money of an account is minus its value if it churned, minus what contacting it has cost. Without a log, each called
    account was contacted, and each that stayed has taken the offer, as `profit` assumes it.

    Args:
        record: Rows of `churn.experiment.record.Record`.
        profit: Costs of a contact and of an offer.
        logged: Whether there is a log of contacts.
    """
    known = record[record["churned"].notna()]
    churned = known["churned"].to_numpy(np.float64)
    called = ~known["held_out"].to_numpy(bool)
    score, value = known["probability"].to_numpy(np.float64), known["account_value"].to_numpy(np.float64)
    contacted = known["attempts"].to_numpy() > 0 if logged else called
    accepted = known["accepted"].to_numpy(bool) if logged else called & (churned == 0)
    rate = known["save_rate"].to_numpy(np.float64)
    share = 1 - known["share"].to_numpy(np.float64)
    return Rows(
        churned,
        called,
        score,
        -value * churned - profit.contact_cost * contacted - profit.offer_cost * accepted,
        -value * score,
        known["reached"].to_numpy(bool),
        doubly_robust(churned, called, share, score, score * (1 - rate)),
    )


def measured_campaigns(record: Record, profit: Profit, experiment: Experiment, day: date | None) -> dict[str, Any]:
    """Return the content of the campaign report as plain JSON types, without nan or infinity.

    Rates and effects are shares from 0 to 1; an effect below 0 means that fewer of the called accounts churned. Money is in
    the currency of `profit`.

    Args:
        record: Accounts, contacts and outcomes of all campaigns.
        profit: Costs of contact and offer.
        experiment: Confidence, horizon and segments.
        day: Date of the current results.

    Returns:
        ``schema_version``; ``as_of``; ``confidence``; ``verdict`` (help, harm, open or none) and ``sentence`` of all campaigns
        together; ``warnings`` and ``notes`` (sentences); ``together`` (the effect over all campaigns); ``campaigns``, the
        last one first; ``contacts``, what the log has beyond the campaigns; ``costs``.
    """
    rows, logged = record.rows, record.counts.logged is not None
    names = _in_order(rows)
    campaigns = [
        _campaign(name, rows[rows["campaign"] == name], profit, experiment, logged=logged) for name in reversed(names)
    ]
    together = None
    if len(rows):
        every = rows_of(rows, profit, logged=logged)
        together = _together(every, campaigns, experiment) if len(every) else None
    verdict = "none" if together is None else str(together["verdict"])
    document: dict[str, Any] = plain(
        {
            "schema_version": SCHEMA_VERSION,
            "as_of": None if day is None else day.isoformat(),
            "confidence": experiment.confidence,
            "verdict": verdict,
            "sentence": verdict_sentence(verdict, together),
            "warnings": [warning for campaign in campaigns for warning in campaign["warnings"]],
            "notes": list(log_notes(record.counts)),
            "together": together,
            "campaigns": campaigns,
            "contacts": record.counts._asdict(),
            "costs": {
                "contact_cost": profit.contact_cost,
                "offer_cost": profit.offer_cost,
                "examples": profit.examples,
            },
        }
    )
    return document


def _in_order(rows: pd.DataFrame) -> list[str]:
    """Return the names of the campaigns, the earliest first."""
    if rows.empty:
        return []
    first = rows.groupby("campaign")["as_of"].min().reset_index().sort_values(["as_of", "campaign"])
    return [str(name) for name in first["campaign"]]


def _campaign(name: str, rows: pd.DataFrame, profit: Profit, experiment: Experiment, *, logged: bool) -> dict[str, Any]:
    held_out = rows["held_out"].to_numpy(bool)
    known = rows["churned"].notna().to_numpy(bool)
    found = rows_of(rows, profit, logged=logged)
    level = experiment.confidence
    share = difference_of_shares(found.churned, found.called, level)
    adjusted = adjusted_difference(found.churned, found.called, found.score, level)
    money = adjusted_difference(found.money, found.called, found.loss, level)
    always = _always(found, experiment)
    contacted = rows["attempts"].to_numpy() > 0
    complete = bool(known.mean() >= COMPLETE)
    kept = _total(adjusted, -1.0)
    brought = _total(money, 1.0)
    return {
        "campaign": name,
        "first_day": rows["as_of"].min().date().isoformat(),
        "called": int((~held_out).sum()),
        "held_out": int(held_out.sum()),
        "holdout": float(rows["share"].iloc[-1]),
        "known": {"called": int(found.called.sum()), "held_out": int((~found.called).sum())},
        "complete": complete,
        "contacts": None
        if not logged
        else {
            "contacted": int((contacted & ~held_out).sum()),
            "reached": int((rows["reached"].to_numpy(bool) & ~held_out).sum()),
            "accepted": int((rows["accepted"].to_numpy(bool) & ~held_out).sum()),
            "held_out_contacted": int((contacted & held_out).sum()),
        },
        "churn": {group: _rate(found, group == "called", level) for group in ("called", "held_out")},
        "difference": share._asdict(),
        "adjusted": adjusted._asdict(),
        "always_valid": always._asdict(),
        "reached_effect": compliers_effect(found.churned, found.called, found.reached, level)._asdict()
        if logged
        else None,
        "kept": kept,
        "money": brought,
        "bands": _levels(rows, found, known, "risk_band", experiment),
        "segments": {
            column: _levels(rows, found, known, f"{FEATURE}{column}", experiment)
            for column in experiment.segments
            if f"{FEATURE}{column}" in rows
        },
        "warnings": list(_warnings(name, rows, known, contacted)),
        "sentence": campaign_sentence(name, kept, brought, always, known=len(found), complete=complete, profit=profit),
    }


def _always(rows: Rows, experiment: Experiment) -> AlwaysValid:
    """Return the always-valid effect, without an end while there are too few accounts."""
    if not enough(rows.churned, rows.called):
        return AlwaysValid(float("nan"), -np.inf, np.inf, len(rows))
    return always_valid_mean(rows.terms.effect, experiment.horizon, experiment.confidence)


def _rate(rows: Rows, called: bool, confidence: float) -> dict[str, float | None]:
    churned = rows.churned[rows.called == called]
    if not len(churned):
        return {"rate": None, "low": None, "high": None}
    low, high = wilson(float(churned.mean()), len(churned), confidence)
    return {"rate": float(churned.mean()), "low": low, "high": high}


def _total(difference: Difference, sign: float) -> dict[str, float]:
    """Return an effect on all called accounts, with its interval."""
    ends = sorted(sign * difference.called * end for end in (difference.low, difference.high))
    return {"value": sign * difference.called * difference.value, "low": ends[0], "high": ends[1]}


def _levels(
    rows: pd.DataFrame, found: Rows, known: NDArray[np.bool_], column: str, experiment: Experiment
) -> list[dict[str, Any]]:
    """Return the effect on the accounts of each value of a column, corrected for their number.

    Intervals have a confidence of 1 - alpha / k each (Bonferroni), so that all k hold together; p-values are Holm's.
    """
    values = rows.loc[known, column].astype("str").fillna("")
    names = [str(name) for name in values.value_counts().index]
    level = 1 - (1 - experiment.confidence) / max(1, len(names))
    differences = []
    for name in names:
        some = found.only((values == name).to_numpy(bool))
        differences.append(adjusted_difference(some.churned, some.called, some.score, level))
    corrected = holm([difference.p_value for difference in differences])
    return [
        {"level": name, **difference._asdict(), "p_value": p_value, "kept": _total(difference, -1.0)}
        for name, difference, p_value in zip(names, differences, corrected.tolist(), strict=True)
    ]


def _warnings(name: str, rows: pd.DataFrame, known: NDArray[np.bool_], contacted: NDArray[np.bool_]) -> Iterator[str]:
    """Yield what makes a comparison doubtful."""
    from scipy.special import bdtr, bdtrc

    held_out = rows["held_out"].to_numpy(bool)
    count, kept = len(rows), int(held_out.sum())
    share = float(rows["share"].mean())
    chance = 2 * min(float(bdtr(kept, count, share)), float(bdtrc(kept - 1, count, share)) if kept else 1.0)
    if chance < RATIO_CHANCE:
        yield (
            f"{name}: {kept:,} of {count:,} accounts were kept back, which chance does not explain at a share of {share:.0%}. "
            "Was the list changed before it was scored? Do not trust the comparison before that is known"
        )
    if known.any() and 0 < kept < count:
        apart = difference_of_shares(known.astype(float), ~held_out)
        if apart.p_value < KNOWN_CHANCE:
            yield (
                f"{name}: the outcome is known of {known[~held_out].mean():.0%} of the called accounts and of "
                f"{known[held_out].mean():.0%} of those kept back. Wait for the others, or find out why: the comparison is "
                "fair only if outcomes come in alike"
            )
    wrong = int((contacted & held_out).sum())
    if wrong:
        yield (
            f"{name}: {wrong:,} of {kept:,} accounts that were kept back were contacted all the same. They count as kept back, "
            "so the effect is larger than the difference shows"
        )


def _together(rows: Rows, campaigns: Sequence[Mapping[str, Any]], experiment: Experiment) -> dict[str, Any]:
    """Return the effect over all campaigns."""
    always = _always(rows, experiment)
    verdict = "help" if always.high < 0 else "harm" if always.low > 0 else "open"
    kept = _summed([campaign["kept"] for campaign in campaigns])
    return {
        "known": {"called": int(rows.called.sum()), "held_out": int((~rows.called).sum())},
        "always_valid": always._asdict(),
        "verdict": verdict,
        "kept": kept,
        "money": _summed([campaign["money"] for campaign in campaigns]),
    }


def _summed(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the sum of independent estimates; those that are not known are left out."""
    known = [part for part in parts if np.isfinite(part["value"]) and np.isfinite(part["low"])]
    if not known:
        return {"value": float("nan"), "low": float("nan"), "high": float("nan")}
    value = sum(part["value"] for part in known)
    half = float(np.sqrt(sum(((part["high"] - part["low"]) / 2) ** 2 for part in known)))
    return {"value": value, "low": value - half, "high": value + half}


def flat_campaign_metrics(report: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of the report for a tracking server, without those that are None, by names such as ``kept``."""
    found: dict[str, Any] = {"verdict": {"help": 1, "harm": -1}.get(report["verdict"], 0)}
    together, last = report["together"], next(iter(report["campaigns"]), None)
    if together is not None:
        for name in ("kept", "money"):
            found |= {f"{name}/{part}": value for part, value in together[name].items()}
        found |= {f"effect/{part}": together["always_valid"][part] for part in ("value", "low", "high")}
        found |= {f"known/{group}": value for group, value in together["known"].items()}
    if last is not None:
        found |= {
            f"last/{name}/{part}": last[name][part] for name in ("kept", "money") for part in ("value", "low", "high")
        }
        found |= {f"last/churn/{group}": last["churn"][group]["rate"] for group in ("called", "held_out")}
    return {name: float(value) for name, value in found.items() if value is not None}
