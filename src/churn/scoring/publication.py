"""The results that a scoring run publishes, and what monitoring judges: such results, or a day of logged requests."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Any, NamedTuple, Protocol

import pandas as pd

from churn.config import Decision, Profit
from churn.model import ChurnModel
from churn.retention.calls import CallPlan
from churn.scoring.ledger import Ledger
from churn.tables import Table
from churn.tables.stored import StoredTable


@dataclass(frozen=True)
class ListFacts:
    """What the pages of the retention list say beside the accounts.

    Attributes:
        own_columns: Columns of the account table that the list has, in its order.
        profit: Costs and benefits of acting.
        decision: Rule for the accounts to act on.
        language: Language of the reasons and actions.
        plan: What calling the first accounts of the list costs and brings.
        cost: Expected cost of acting on the accounts to act on, in currency.
    """

    own_columns: tuple[str, ...]
    profit: Profit
    decision: Decision
    language: str
    plan: CallPlan
    cost: float


@dataclass(frozen=True)
class Record:
    """Results that are published with the scores, for decisions, provenance and monitoring.

    Attributes:
        rows: Number of accounts scored.
        at_risk: Number of accounts whose probability is at or above the threshold.
        profile: Binned counts of the scored rows, on the bins of the model's reference profile; ``threshold``.
        model: ``uri``, ``version``, ``sha256`` and ``run_id``.
        source: ``name``, ``bytes`` and ``sha256`` of the scored file, and its ``rows``.
        as_of: Date of the scored snapshot.
        to_act_on: Number of accounts to act on.
        expected_profit: Expected profit of acting on them, in currency.
        example_costs: Names of the amounts of `profit` that nobody has set.
        retention_list: The first accounts of the order of `churn.retention.order.best_first`, with reasons.
        ledger: Run that scored each file of the table, ``None`` for this run; see `churn.scoring.ledger`.
        follows: Run whose results must still be current when these are published; ``None`` for any.
        facts: What the pages of the retention list say; ``None`` publishes no pages.
        campaign: What the run asks for: name of the campaign, accounts to call, kept back and not to be contacted, and what
            that can show; ``None`` without a campaign. See `churn.scoring.campaign.CampaignRun`.
        campaign_accounts: Accounts of all campaigns so far, see `churn.experiment.cohort`; ``None`` if there are none.
    """

    rows: int
    at_risk: int
    profile: dict[str, Any]
    model: dict[str, Any]
    source: dict[str, Any]
    as_of: date
    to_act_on: int
    expected_profit: float
    retention_list: pd.DataFrame
    ledger: Ledger
    example_costs: tuple[str, ...] = ()
    follows: str | None = None
    facts: ListFacts | None = None
    campaign: dict[str, Any] | None = None
    campaign_accounts: pd.DataFrame | None = None


class Scores(Protocol):
    """Scores that are computed while they are published."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to score, which is not an error."""
        ...

    def batches(self) -> Iterator[pd.DataFrame]:
        """Iterate once over the scores, one row per account: id, probability, prediction, risk band, model version."""
        ...

    def record(self) -> Record:
        """Return the results that are published with the scores; call it after the last batch."""
        ...


def origin_of(model: ChurnModel) -> dict[str, Any]:
    """Return where a model comes from: ``uri``, ``version``, ``sha256`` and ``run_id``."""
    source = model.source
    return {
        "uri": source.uri if source else None,
        "version": model.version,
        "sha256": model.sha256,
        "run_id": source.run_id if source else None,
    }


def reference_of(model: ChurnModel) -> dict[str, Any]:
    """Return what monitoring compares scores of a model with, as plain JSON types."""
    return {
        "reference": model.reference.to_dict(),
        "performance": dict(model.performance),
        "importance": dict(model.importance),
        "threshold": model.threshold,
        "risk_bands": [band.name for band in model.risk_bands],
        **({"stayed": list(stayed)} if (stayed := model.schema.label.negatives) else {}),
    }


class RequestDay(NamedTuple):
    """The day of logged requests that scores are of.

    Attributes:
        day: The day (UTC).
        notes: Sentences on what was judged and what not, which need no action.
        to_watch: Sentences on what should not be so.
    """

    day: date
    notes: tuple[str, ...] = ()
    to_watch: tuple[str, ...] = ()


@dataclass(frozen=True)
class Publication:
    """Scores to be judged: published ones, or those of logged requests; see `Record` for the other attributes.

    Attributes:
        predictions: One row per account: id, probability, prediction, risk band, model version. Those of requests have ids
            of `churn.tables.ids.dated_ids`, as an account may be asked for on several days.
        run_id: Id of the run, and name of its folder; None for requests.
        requests: The day, if they are scores of requests.
        explained: What the numbers of accounts at risk and to act on mean, see `churn.retention.explained`; empty if it was
            not published.
        campaign_accounts: Accounts of all campaigns so far, see `churn.experiment.cohort`; ``None`` if there are none.
    """

    predictions: Table
    profile: dict[str, Any]
    model: dict[str, Any]
    source: dict[str, Any]
    as_of: date
    run_id: str | None
    requests: RequestDay | None = None
    explained: dict[str, str] = field(default_factory=dict)
    campaign_accounts: StoredTable | None = None
