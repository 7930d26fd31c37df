"""Simulated calls with a known truth: what a call would change for each account, and what becomes of a campaign.

Each account is of one kind. A conversation makes a *persuadable* account churn less often, and one that does *not want to be
disturbed* more often; it changes nothing for *sure* ones, which stay anyway, and for *lost* ones. The kind depends on the
account's columns as far as `simulation.intervention.heterogeneity` says, so that it can be learned. Everything is drawn by a
hash of the id, so an account is the same in every snapshot, order and campaign.
"""

import hashlib
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn.config import AccountSchema, Intervention
from churn.pipelines.data_generation.population import Columns
from churn.tables.ids import hashes_of

KINDS: Final = ("persuadable", "sure", "lost", "do not disturb")
# Columns of the oracle beside the true probability of churn.
KIND, IF_REACHED = "kind", "probability_if_reached"
Floats = NDArray[np.float64]


class Effects(NamedTuple):
    """What a conversation would change, shape (n,) each.

    Attributes:
        kind: Position of each account's kind in `KINDS`.
        probability: Probability of churn after a conversation.
    """

    kind: NDArray[np.int8]
    probability: Floats


def call_effects(shares: Floats, ids: pd.Series, probability: Floats, intervention: Intervention) -> Effects:
    """Return the kind of each account, and its probability of churn after a conversation.

    Args:
        shares: Probability of each kind for each account, see `kind_shares`, shape (n, 4).
        ids: Their ids.
        probability: Their true probabilities of churn without a conversation, shape (n,).
        intervention: Strengths, and the seed.
    """
    drawn = uniform(ids, "kind", intervention.seed)
    kind = (drawn[:, None] > np.cumsum(shares, axis=1)[:, :-1]).sum(axis=1).astype(np.int8)
    return Effects(kind, np.choose(kind, _after(probability, intervention)))


def kind_shares(columns: Columns, intervention: Intervention) -> Floats:
    """Return the probability of each kind for each account, shape (n, 4): what could be learned of them.

    Args:
        columns: Complete columns of n accounts.
        intervention: Shares of the kinds in a population without heterogeneity, and the heterogeneity.
    """
    base = [intervention.persuadable, 0.0, intervention.lost, intervention.do_not_disturb]
    base[1] = max(1.0 - sum(base), 1e-9)
    traits = _traits(columns)
    # Persuadable are those who use little of what they pay for; lost ones have stopped to pay; sure ones stay long.
    pull = np.column_stack([traits["idle"], -traits["idle"], traits["unpaid"], traits["quiet"]])
    logits = np.log(np.maximum(base, 1e-9)) + 2.5 * intervention.heterogeneity * pull
    chance = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(chance / chance.sum(axis=1, keepdims=True))


def mean_effect(columns: Columns, probability: Floats, intervention: Intervention) -> Floats:
    """Return the expected change of the probability of churn by a conversation, given an account's columns, shape (n,)."""
    after = np.column_stack(_after(probability, intervention))
    return np.asarray((kind_shares(columns, intervention) * after).sum(axis=1) - probability)


def _after(probability: Floats, intervention: Intervention) -> list[Floats]:
    """Return the probability of churn after a conversation for each kind."""
    disturbed = probability + intervention.harm * (1 - probability)
    return [probability * (1 - intervention.strength), probability, probability, disturbed]


def _traits(columns: Columns) -> dict[str, Floats]:
    """Return three traits of each account between -1 and 1."""
    active = columns.active_users.astype(np.float64)
    share = active / columns.total_users
    return {
        "idle": np.tanh(4 * (0.5 - share)),
        "unpaid": np.tanh(-3 * columns.payments.astype(np.float64)),
        "quiet": np.tanh(1.5 * (1.2 - np.log1p(columns.logins / active))),
    }


def uniform(ids: pd.Series, purpose: str, seed: int) -> Floats:
    """Return a uniform number from 0 to 1 for each id and purpose, shape (n,)."""
    key = hashlib.sha256(f"{seed}\n{purpose}".encode()).hexdigest()[:16]
    return np.asarray(hashes_of(ids, key) / 2.0**64)


class ActedOut(NamedTuple):
    """A campaign after some weeks.

    Attributes:
        contacts: The log: id, ``campaign``, ``contacted_at`` and ``result``.
        outcomes: Id and label of the accounts of the list; empty where it is not known yet.
    """

    contacts: pd.DataFrame
    outcomes: pd.DataFrame


def act_out(cohort: pd.DataFrame, oracle: pd.DataFrame, schema: AccountSchema, intervention: Intervention) -> ActedOut:
    """Call the accounts of the last campaign, and return what is known of it after `intervention.days` days.

    Args:
        cohort: Accounts of the campaigns, see `churn.experiment.cohort`.
        oracle: True probabilities by id, with the columns `KIND` and `IF_REACHED`.
        schema: Names of id and label.
        intervention: Shares of accounts that are called, reached and logged, delays, and the seed.
    """
    last = str(cohort.sort_values("as_of", kind="stable")["campaign"].iloc[-1]) if len(cohort) else ""
    rows = cohort[cohort["campaign"] == last]
    truth = oracle.assign(**{schema.id: oracle[schema.id].astype("str")}).set_index(schema.id)
    known = truth.reindex(rows["account"])
    ids = rows["account"]

    def drawn(purpose: str) -> Floats:
        return uniform(ids, f"{purpose} {last}", intervention.seed)

    called = np.where(rows["held_out"], drawn("leak") < intervention.leaked, drawn("work") < intervention.worked)
    # Geometric in days, with a mean of the delay.
    delay = np.floor(np.log(1 - drawn("delay")) / np.log(1 - 1 / (1 + intervention.delay_days)))
    called &= delay < intervention.days
    reached = called & (drawn("reach") < intervention.reached)
    kind = known[KIND].to_numpy()
    takes = np.where(kind == KINDS[0], 0.7, np.where(kind == KINDS[1], 0.6, 0.1))
    result = np.select(
        [~reached, (kind == KINDS[3]) & (drawn("word") < 0.2), drawn("take") < takes],
        ["no answer", "do not call", "accepted"],
        "refused",
    )
    day = rows["as_of"] + pd.to_timedelta(delay, unit="D")
    written = called & (drawn("note") < intervention.logged)
    contacts = pd.DataFrame(
        {
            schema.id: ids,
            "campaign": last,
            "contacted_at": day.dt.strftime("%Y-%m-%d"),
            "result": result,
        }
    )[written]
    chance = np.where(reached, known[IF_REACHED].to_numpy(np.float64), known["probability"].to_numpy(np.float64))
    churned = drawn("churn") < chance
    label = np.where(churned, "true", "false").astype(object)
    label[drawn("known") >= intervention.known] = None
    outcomes = pd.DataFrame({schema.id: ids, schema.label.column: pd.array(label, dtype="str")})
    return ActedOut(contacts.reset_index(drop=True), outcomes.reset_index(drop=True))
