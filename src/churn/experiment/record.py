"""The record of the campaigns: each account with its group, its contacts and its outcome, once they are known.

The record outlives what it is made from: the next log has other contacts, and the next table of outcomes other accounts.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn.config import AccountSchema
from churn.errors import ChurnError
from churn.experiment.cohort import with_earlier
from churn.experiment.contacts import ContactLog, join_contacts
from churn.tables import Batches
from churn.tables.ids import RepeatedIds, hashes_of, repetitions
from churn.tables.labels import UNKNOWN, OutcomeRows, check_outcome_columns


class Counts(NamedTuple):
    """What the log has that no comparison uses.

    Attributes:
        logged: Contacts in the log; None if there is no log.
        waiting: Rows of the log of accounts that nobody has contacted yet.
        outside: Contacts with accounts that were on no list.
        elsewhere: Contacts that name a campaign or a day in which the account was not in a campaign.
    """

    logged: int | None = None
    waiting: int = 0
    outside: int = 0
    elsewhere: int = 0


class Record(NamedTuple):
    """The record, and what the log has beyond it.

    Attributes:
        rows: One row per campaign and account: the columns of `churn.experiment.cohort`, then ``attempts``, ``reached``,
            ``accepted``, ``contacted_at`` and ``churned`` (1, 0, or missing while it is not known).
        counts: What the log has that no comparison uses.
    """

    rows: pd.DataFrame
    counts: Counts


def known_outcomes(batches: Batches, schema: AccountSchema, accounts: pd.Series) -> pd.Series:
    """Return the known outcomes of some accounts, 1 for churned and 0 for stayed, by id.

    Args:
        batches: Table of outcomes, see `churn.monitoring.outcomes`; checked as there.
        schema: Id and label.
        accounts: Ids of the accounts.

    Raises:
        AccountsError: Lists every fault of the table.
    """
    check_outcome_columns(batches.columns, schema)
    wanted, found, parts = frozenset(accounts), OutcomeRows(), []
    with RepeatedIds() as seen:
        for batch in batches:
            ids, outcome = found.check_batch(batch, schema)
            seen.add(hashes_of(ids)[ids.notna().to_numpy(bool)])
            of_these = ids.isin(wanted).to_numpy() & (outcome != UNKNOWN)
            parts.append(pd.Series(outcome[of_these], index=pd.Index(ids[of_these].astype("str")), dtype="int8"))
        again = seen.suspects()
    found.raise_faults(repetitions(batches, schema.id, again), schema)
    return pd.concat(parts) if parts else pd.Series(dtype="int8")


def updated_record(
    record: pd.DataFrame | None,
    cohort: pd.DataFrame | None,
    log: ContactLog | None,
    outcomes: pd.Series | None,
    campaign: str | None = None,
) -> Record:
    """Return the record with new accounts, contacts and outcomes; what it knows already stays.

    Args:
        record: The record so far; None if there is none.
        cohort: Accounts of all campaigns, as the current results carry them; None if there are none.
        log: Log of contacts; None if there is none.
        outcomes: Known outcomes by id, see `known_outcomes`; None if there are none yet.
        campaign: Campaign that the outcomes belong to; None: for each account, the last one that it was in.

    Raises:
        ChurnError: If the campaign is not in the record.
    """
    rows = _with_new(record, cohort)
    if rows.empty:
        counts = Counts() if log is None else Counts(len(log.rows), log.waiting, len(log.rows), 0)
        return Record(rows, counts)
    counts = Counts()
    if log is not None:
        joined = join_contacts(log, rows)
        counts = Counts(len(log.rows), log.waiting, joined.outside, joined.elsewhere)
        rows = _with_contacts(rows, joined.accounts)
    if outcomes is not None and len(outcomes):
        rows = rows.assign(churned=_with_outcomes(rows, outcomes, campaign))
    return Record(rows, counts)


def _with_new(record: pd.DataFrame | None, cohort: pd.DataFrame | None) -> pd.DataFrame:
    blank = pd.DataFrame() if cohort is None else cohort
    new = blank.assign(
        attempts=np.zeros(len(blank), np.int32),
        reached=False,
        accepted=False,
        contacted_at=pd.Series(pd.NaT, index=blank.index, dtype="datetime64[s]"),
        churned=pd.array([pd.NA] * len(blank), dtype="Int8"),
    )
    return with_earlier(record, new) if len(new) or record is None else record


def _with_contacts(rows: pd.DataFrame, contacts: pd.DataFrame) -> pd.DataFrame:
    keys = ["campaign", "account"]
    met = rows[keys].merge(contacts, on=keys, how="left")
    first = pd.concat([rows["contacted_at"].reset_index(drop=True), met["contacted_at"]], axis=1).min(axis=1)
    return rows.assign(
        attempts=np.maximum(rows["attempts"].to_numpy(), met["attempts"].fillna(0).to_numpy(np.int32)),
        reached=rows["reached"].to_numpy(bool) | (met["reached"] == True).to_numpy(bool),  # noqa: E712, may be missing
        accepted=rows["accepted"].to_numpy(bool) | (met["accepted"] == True).to_numpy(bool),  # noqa: E712
        contacted_at=first.astype("datetime64[s]").array,
    )


def _with_outcomes(rows: pd.DataFrame, outcomes: pd.Series, campaign: str | None) -> pd.Series:
    if campaign is None:
        order = rows.sort_values(["as_of", "campaign"], kind="stable")
        last = ~order["account"].duplicated(keep="last")
        of_these: NDArray[np.bool_] = last.reindex(rows.index).to_numpy(bool)
    else:
        of_these = (rows["campaign"] == campaign).to_numpy(bool)
        if not of_these.any():
            known = ", ".join(sorted(map(str, rows["campaign"].unique())))
            raise ChurnError(
                f"experiment.outcomes_of = {campaign!r}: there is no such campaign; there are: {known}. Name one of them, or "
                "leave it empty for the last campaign of each account"
            )
    new = rows["account"].map(outcomes).astype("Int8")
    return new.where(of_these & new.notna().to_numpy(bool), rows["churned"])
