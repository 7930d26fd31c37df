"""Whom not to contact, and what a scoring run has to know of the campaign."""

from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn.config import Experiment, Policy
from churn.experiment.assignment import campaign_of, drawn_rows
from churn.experiment.contacts import ContactLog

if TYPE_CHECKING:
    from churn.experiment.uplift import EffectTrees

# Canonical texts of a column that say that an account must not be contacted.
YES = frozenset({"yes", "true", "1", "y", "t", "x", "ja", "j", "oui", "si", "sí", "sim"})

# What may be done with an account that is worth a call: call it, or keep it back, or leave it alone.
OPEN, KEPT_BACK, RESTING, REFUSED = 0, 1, 2, 3


class Excluded(NamedTuple):
    """Ids that are not contacted now.

    Attributes:
        resting: Accounts that were contacted within `policy.days_between` days before the snapshot.
        refused: Accounts that asked not to be contacted.
    """

    resting: frozenset[str] = frozenset()
    refused: frozenset[str] = frozenset()


def excluded_accounts(log: ContactLog | None, policy: Policy, as_of: date) -> Excluded:
    """Return the accounts that the log of contacts excludes on the day of the snapshot.

    Args:
        log: The log of contacts; None if there is none.
        policy: Days between two contacts.
        as_of: Date of the snapshot. A contact of that day or later counts as one of the last days.
    """
    if log is None:
        return Excluded()
    rows = log.rows
    refused = frozenset(rows.loc[rows["do_not_contact"], "account"])
    if not policy.days_between:
        return Excluded(refused=refused)
    since = pd.Timestamp(as_of - timedelta(days=policy.days_between))
    return Excluded(frozenset(rows.loc[rows["at"] > since, "account"]), refused)


@dataclass(frozen=True)
class Campaign:
    """A campaign, as a scoring run needs it: who is kept back, and who is not contacted.

    Attributes:
        name: Name of the campaign.
        share: Share of the accounts that would be called that is kept back; 0 for none.
        salt: Key of the draw.
        id_column: Column of the ids.
        do_not_contact: Column that says whether an account must not be contacted, if there is one.
        excluded: Accounts that the log of contacts excludes.
        effects: Model of the effect of a call, if the order by effect is in use.
    """

    name: str
    share: float
    salt: int
    id_column: str
    do_not_contact: str | None = None
    excluded: Excluded = field(default=Excluded(), repr=False)
    effects: "EffectTrees | None" = field(default=None, repr=False)

    def groups(self, accounts: pd.DataFrame, worth: NDArray[np.bool_]) -> NDArray[np.int8]:
        """Return what may be done with each account: `OPEN`, `KEPT_BACK`, `RESTING` or `REFUSED`, shape (n,).

        Args:
            accounts: Canonical account rows, n of them; each is judged by itself.
            worth: Whether each account would be called if there were no experiment, shape (n,). The others stay `OPEN` unless
                they are not to be contacted: to keep them back would change nothing.
        """
        ids = accounts[self.id_column]
        group = np.full(len(ids), OPEN, dtype=np.int8)
        group[drawn_rows(ids, self.name, self.salt, self.share) & worth] = KEPT_BACK
        if self.excluded.resting:
            group[ids.isin(self.excluded.resting).to_numpy()] = RESTING
        if self.excluded.refused:
            group[ids.isin(self.excluded.refused).to_numpy()] = REFUSED
        if self.do_not_contact is not None:
            said = accounts[self.do_not_contact].astype("str").str.lower().isin(YES)
            group[said.to_numpy(dtype=bool)] = REFUSED
        return group

    def saved(self, accounts: pd.DataFrame, probability: NDArray[np.floating]) -> NDArray[np.float64] | None:
        """Return the probability that a call keeps each account, shape (n,); None for that of the save rate."""
        return None if self.effects is None else self.effects.saved(accounts, probability)


def campaign_for(
    experiment: Experiment,
    policy: Policy,
    log: ContactLog | None,
    as_of: date,
    id_column: str,
    effects: "EffectTrees | None" = None,
) -> Campaign | None:
    """Return the campaign of a scoring run; None if nobody is kept back or excluded, and the order is that by risk."""
    excluded = excluded_accounts(log, policy, as_of)
    if not (experiment.holdout or policy.do_not_contact or excluded.resting or excluded.refused or effects):
        return None
    return Campaign(
        name=campaign_of(experiment, as_of),
        share=experiment.holdout,
        salt=experiment.salt,
        id_column=id_column,
        do_not_contact=policy.do_not_contact,
        excluded=excluded,
        effects=effects,
    )
