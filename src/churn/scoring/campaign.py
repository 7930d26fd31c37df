"""The campaign of a scoring run: who is asked to be called, who is kept back, and what that can show."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn.config import Decision, Experiment, Profit
from churn.errors import ChurnError
from churn.experiment.cohort import listed_accounts, with_earlier
from churn.experiment.policy import REFUSED, RESTING, Campaign
from churn.experiment.power import campaign_power, power_sentence, too_small
from churn.retention.order import best_first
from churn.scoring.candidates import EXPECTED, PROBABILITY, VALUE

GROUPS = 4


def no_groups() -> tuple[int, ...]:
    """Return the counts of no accounts."""
    return (0,) * GROUPS


def count_groups(groups: NDArray[np.int8], act: NDArray[np.bool_]) -> tuple[int, ...]:
    """Return how many of the accounts that would be acted on are in each group, shape (4,)."""
    return tuple(np.bincount(groups[act], minlength=GROUPS).tolist())


class Asked(NamedTuple):
    """What a run asks for.

    Attributes:
        said: The same in numbers and sentences, plain JSON types.
        accounts: Accounts of all campaigns so far.
    """

    said: dict[str, Any]
    accounts: pd.DataFrame | None


@dataclass(frozen=True)
class CampaignRun:
    """A campaign in a scoring run.

    Attributes:
        campaign: Who is kept back, and who is not contacted; None if only earlier accounts are carried on.
        experiment: What the experiment has to show.
        earlier: Accounts of the campaigns of earlier runs; None if there are none.
        save_rate: Which save rate is in use, as published; None for the assumed one.
    """

    campaign: Campaign | None
    experiment: Experiment
    earlier: pd.DataFrame | None = None
    save_rate: dict[str, Any] | None = None

    def asked(
        self,
        called: pd.DataFrame,
        kept_back: pd.DataFrame,
        groups: tuple[int, ...],
        scores_of: Callable[[pd.DataFrame], pd.DataFrame],
        profit: Profit,
        decision: Decision,
        as_of: date,
        *,
        columns: tuple[str, ...],
        cut: bool,
    ) -> Asked:
        """Return what the run asks for.

        Args:
            called: Candidates that the list asks to call, in its order.
            kept_back: Candidates that are kept back.
            groups: Number of accounts that would be acted on by group; without the limit of the rule ``capacity``.
            scores_of: Returns the scores of candidates.
            profit: Save rate.
            decision: Rule, and capacity.
            as_of: Date of the snapshot.
            columns: Account columns to keep; those that the list only carries, such as names, are not among them.
            cut: Whether the list is too short for all accounts to act on.

        Raises:
            ChurnError: If too few accounts are kept back, and `experiment.too_small` is to refuse that.
        """
        campaign = self.campaign
        if campaign is None:
            return Asked({} if self.save_rate is None else {"save_rate": self.save_rate}, self.earlier)
        held_out = _before_the_last(called, kept_back, campaign.id_column, decision, cut=cut)
        accounts = self.earlier
        if campaign.share:
            frames = [_described(rows, scores_of(rows), (campaign.id_column, *columns)) for rows in (called, held_out)]
            now = listed_accounts(
                *frames,
                id_column=campaign.id_column,
                campaign=campaign.name,
                share=campaign.share,
                save_rate=profit.save_rate,
                as_of=as_of,
            )
            accounts = with_earlier(self.earlier, now)
        said: dict[str, Any] = {
            "campaign": campaign.name,
            "holdout": campaign.share,
            "to_call": len(called),
            "held_out": len(held_out),
            "not_contacted": {"contacted_lately": groups[RESTING], "asked_not_to_be": groups[REFUSED]},
            "order": "risk" if campaign.effects is None else "effect",
            **({} if self.save_rate is None else {"save_rate": self.save_rate}),
        }
        if campaign.share and accounts is not None:
            said |= self._can_show(accounts[accounts["campaign"] == campaign.name], profit)
        return Asked(said, accounts)

    def _can_show(self, accounts: pd.DataFrame, profit: Profit) -> dict[str, Any]:
        power = campaign_power(
            accounts["probability"], int(accounts["held_out"].sum()), profit.save_rate, self.experiment
        )
        fault = too_small(power, self.experiment)
        if fault is not None and self.experiment.too_small == "refuse":
            raise ChurnError(f"experiment.holdout = {self.experiment.holdout:g}: {fault}. Nothing was published")
        return {
            "accounts": len(accounts),
            "power": {**power._asdict(), "sentence": power_sentence(power), "too_small": fault},
        }


def _before_the_last(
    called: pd.DataFrame, kept_back: pd.DataFrame, id_column: str, decision: Decision, *, cut: bool
) -> pd.DataFrame:
    """Return the candidates that the list would ask to call if nobody were kept back.

    A list may end before all that pay: by its length, or by the capacity, of all or of each owner. Then those count as kept
    back that come before the last one that is called.
    """
    by = decision.capacity_by if decision.rule == "capacity" else None
    if by is not None and not cut:
        parts = [
            _ahead(called[_same(called[by], owner)], rows, id_column, full=decision.capacity)
            for owner, rows in kept_back.groupby(by, sort=False, dropna=False)
        ]
        return pd.concat(parts).sort_index() if parts else kept_back
    full = decision.capacity if decision.rule == "capacity" and by is None else len(called) + 1
    return _ahead(called, kept_back, id_column, full=len(called) if cut else full)


def _same(values: pd.Series, value: Any) -> pd.Series:
    return values.isna() if pd.isna(value) else values == value


def _ahead(called: pd.DataFrame, kept_back: pd.DataFrame, id_column: str, *, full: int) -> pd.DataFrame:
    """Return the candidates that come before the last called one, or all if fewer are called than there is room for."""
    if len(called) < full or called.empty or kept_back.empty:
        return kept_back
    both = pd.concat([kept_back, called.iloc[[-1]]], ignore_index=True)
    ranked = best_first(both[EXPECTED], both[PROBABILITY], both[id_column])
    before = ranked[: int(np.flatnonzero(ranked == len(kept_back))[0])]
    return kept_back.iloc[np.sort(before)]


def _described(rows: pd.DataFrame, scores: pd.DataFrame, columns: tuple[str, ...]) -> pd.DataFrame:
    """Return candidates with the columns that `churn.experiment.cohort.listed_accounts` expects."""
    known: dict[str, Any] = {
        " probability": rows[PROBABILITY].to_numpy(np.float64),
        " risk_band": scores["risk_band"].astype("str").array,
        " account_value": rows[VALUE].to_numpy(np.float64),
        " expected_profit": rows[EXPECTED].to_numpy(np.float64),
        " model_version": scores["model_version"].astype("str").array,
    }
    return rows[list(columns)].assign(**known)
