"""The results that a scoring run publishes."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any, Protocol

import pandas as pd

from churn.scoring.ledger import Ledger
from churn.tables import Table


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


@dataclass(frozen=True)
class Publication:
    """Published scores; see `Record` for the other attributes.

    Attributes:
        predictions: One row per account: id, probability, prediction, risk band, model version.
        run_id: Id of the run, and name of its folder.
        campaign_accounts: Accounts of all campaigns so far, see `churn.experiment.cohort`; ``None`` if there are none.
    """

    predictions: Table
    profile: dict[str, Any]
    model: dict[str, Any]
    source: dict[str, Any]
    as_of: date
    run_id: str
    campaign_accounts: pd.DataFrame | None = None
