"""The log of contacts: what was done and what came of it, as the people who called have written it down.

A log is late, partial and from several hands. It is read as such: an account may occur several times or never, a row without
date and result is one that nobody has worked on yet, and contacts with accounts that nobody asked to call are kept and
counted.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn.config import AccountSchema, Contacts
from churn.config.experiment import MEANINGS, plain_word
from churn.errors import AccountsError, closest
from churn.tables.cells import quoted, text_of
from churn.tables.faults import MAX_EXAMPLES, NOT_ONE_VALUE, Fault

logger = logging.getLogger(__name__)

LOG = "contacts"
_ISO = r"^(\d{4}-\d{2}-\d{2})(?:[T ].*)?$"


@dataclass(frozen=True)
class ContactLog:
    """A log of contacts.

    Attributes:
        rows: One row per contact: ``account`` (canonical id), ``campaign`` (text, missing if not said), ``at`` (day, NaT if not
            said), ``reached``, ``accepted`` and ``do_not_contact`` (bool). Who accepted or asked not to be contacted was reached.
        waiting: Number of rows without date and result, of accounts that nobody has contacted yet.
    """

    rows: pd.DataFrame
    waiting: int = 0


def read_contacts(table: pd.DataFrame, contacts: Contacts, schema: AccountSchema) -> ContactLog:
    """Check a log of contacts and return it in canonical form.

    Args:
        table: The log, from any file or query: the id, and the columns of `contacts` that there are; at least one of date and
            result. Further columns are left out. Rows without any of them are left out.
        contacts: Names of the columns, and words of the results.
        schema: Name of the id column, and the words for missing text.

    Raises:
        AccountsError: Lists every fault: missing columns, empty ids, dates that are none, words without a meaning.
    """
    name = contacts.account or schema.id
    columns = [str(column) for column in table.columns]
    table = table.set_axis(columns, axis=1)
    if name not in columns or not {contacts.at, contacts.result} & set(columns):
        raise AccountsError(LOG, [_missing_columns(name, contacts, columns)])
    found: list[Fault] = []
    texts: dict[str, pd.Series] = {}
    for column in (name, contacts.campaign, contacts.result):
        if column in columns:
            texts[column], unreadable = text_of(table[column], schema.missing_text)
            if unreadable.any():
                found.append(Fault.of(column, NOT_ONE_VALUE, unreadable, None, advice="; write it as text"))
        else:
            texts[column] = pd.Series(np.nan, index=table.index, dtype="str")
    at, no_date = _days(table[contacts.at] if contacts.at in columns else None, table.index)
    if no_date.any():
        written = text_of(table[contacts.at])[0]
        advice = "; write dates as YYYY-MM-DD, or leave the cell empty"
        found.append(Fault.of(contacts.at, "not a date", no_date, written, advice=advice))
    meaning, strange = _meanings(texts[contacts.result], contacts)
    if strange.any():
        found.append(
            Fault.of(contacts.result, "no known result", strange, texts[contacts.result], advice=_words(contacts))
        )
    said = at.notna().to_numpy() | no_date | texts[contacts.result].notna().to_numpy(bool)
    nameless = texts[name].isna().to_numpy(bool) & said
    if nameless.any():
        found.append(Fault.of(name, "empty", nameless, None, advice="; a contact is with an account"))
    if found:
        raise AccountsError(LOG, [fault.sentence for fault in found])
    rows = pd.DataFrame(
        {
            "account": texts[name],
            "campaign": texts[contacts.campaign],
            "at": at,
            "reached": np.isin(meaning, ["reached", "accepted", "do_not_contact"]),
            "accepted": meaning == "accepted",
            "do_not_contact": meaning == "do_not_contact",
        }
    )
    waiting = ~said & texts[name].notna().to_numpy(bool)
    return ContactLog(rows[said].reset_index(drop=True), int(waiting.sum()))


def _missing_columns(name: str, contacts: Contacts, columns: list[str]) -> str:
    wanted = f"{name} and at least one of {contacts.at} and {contacts.result}"
    near = next((near for each in (name, contacts.result, contacts.at) if (near := closest(each, columns))), None)
    hint = f"; is one of them '{near}'? Name it in the parameters contacts" if near else "; name them in contacts"
    return f"the log needs {wanted}, it has: {', '.join(columns) or 'no columns'}{hint}"


def _days(written: pd.Series | None, index: pd.Index) -> tuple[pd.Series, NDArray[np.bool_]]:
    """Return the day of each contact, and a mask of the cells that are not a date."""
    if written is None:
        return pd.Series(pd.NaT, index=index, dtype="datetime64[s]"), np.zeros(len(index), bool)
    texts, unreadable = text_of(written)
    days = pd.to_datetime(texts.str.extract(_ISO, expand=False), format="%Y-%m-%d", errors="coerce")
    return days.astype("datetime64[s]"), (texts.notna().to_numpy(bool) & days.isna().to_numpy()) | unreadable


def _meanings(results: pd.Series, contacts: Contacts) -> tuple[NDArray[np.object_], NDArray[np.bool_]]:
    """Return the meaning of each result, None where there is none, and a mask of the words without a meaning.

    A contact with a date and without a result is taken for an attempt that did not reach the customer.
    """
    known = word_meanings(contacts)
    plain = results.astype("str").fillna("").map(plain_word)
    meaning = np.array([known.get(word) for word in plain], dtype=object)
    return meaning, results.notna().to_numpy(bool) & np.array([each is None for each in meaning], dtype=bool)


def _words(contacts: Contacts) -> str:
    known = sorted(word_meanings(contacts))
    shown = ", ".join(map(quoted, known[: 2 * MAX_EXAMPLES]))
    return f"; add the word to one of contacts.{', contacts.'.join(MEANINGS)} (known are {shown}, ...)"


def word_meanings(contacts: Contacts) -> Mapping[str, str]:
    """Return the meaning of each word of the log, one of `MEANINGS`, by the word as `plain_word` returns it."""
    return {plain_word(word): name for name in MEANINGS for word in getattr(contacts, name)}


@dataclass(frozen=True)
class JoinedContacts:
    """Contacts of the accounts of the campaigns.

    Attributes:
        accounts: One row per account of a campaign that was contacted: ``campaign``, ``account``, ``attempts``, ``reached``,
            ``accepted``, ``contacted_at`` (day of the first contact, NaT if not known).
        outside: Number of contacts with accounts that were on no list.
        elsewhere: Number of contacts that name a campaign in which the account was not.
    """

    accounts: pd.DataFrame
    outside: int
    elsewhere: int


def join_contacts(log: ContactLog, cohort: pd.DataFrame) -> JoinedContacts:
    """Join contacts with the accounts of the campaigns by id and campaign.

    A contact without a campaign belongs to the last campaign that the account was in on that day, or at all if it has no day.

    Args:
        log: The log.
        cohort: Accounts of the campaigns: ``campaign``, ``account``, ``as_of`` (day on which it was first on the list).
    """
    known = cohort[["campaign", "account", "as_of"]].reset_index(drop=True)
    contacts = log.rows.assign(contact=np.arange(len(log.rows)))
    met = contacts.merge(known, on="account", how="left", suffixes=("", "_of"))
    in_campaign = met["campaign_of"].notna()
    outside = int((~in_campaign).sum())
    met = met[in_campaign]
    named = met["campaign"].notna()
    same = met[named & (met["campaign"] == met["campaign_of"])]
    before = met[~named & (met["at"].isna() | (met["as_of"] <= met["at"]))]
    last = before.sort_values(["as_of", "campaign_of"], kind="stable").drop_duplicates("contact", keep="last")
    joined = pd.concat([same, last])
    elsewhere = met["contact"].nunique() - joined["contact"].nunique()
    grouped = joined.groupby(["campaign_of", "account"], sort=True)
    accounts = grouped.agg(
        attempts=("contact", "size"),
        reached=("reached", "any"),
        accepted=("accepted", "any"),
        contacted_at=("at", "min"),
    ).reset_index()
    return JoinedContacts(accounts.rename(columns={"campaign_of": "campaign"}), outside, int(elsewhere))
