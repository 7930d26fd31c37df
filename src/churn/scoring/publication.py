"""What a scoring run publishes."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any, Protocol

import pandas as pd

from churn.scoring.ledger import Ledger
from churn.tables import Table


@dataclass(frozen=True)
class Record:
    """All that is published beside the scores, to act on them, to trace and to monitor them.

    Attributes:
        rows: Accounts scored.
        at_risk: Those with a probability from the threshold on.
        profile: Binned counts of the scored rows, on the bins of the model's reference profile; ``threshold``.
        model: ``uri``, ``version``, ``sha256`` and ``run_id``.
        source: ``name``, ``bytes`` and ``sha256`` of the scored file, and its ``rows``.
        as_of: Date of the scored snapshot.
        to_act_on: Accounts to act on.
        expected_profit: What acting on them is expected to bring, in currency.
        retention_list: The first of the accounts in the order in which acting pays, with reasons.
        ledger: Which run scored each file of the table; ``run_id`` is ``None`` for this one. See `churn.scoring.ledger`.
        follows: Run whose results have to be current still when these are published; ``None`` for any.
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
    follows: str | None = None


class Scores(Protocol):
    """Scores on their way to where they are published."""

    @property
    def is_empty(self) -> bool:
        """Whether there was nothing to score, which is no error."""
        ...

    def batches(self) -> Iterator[pd.DataFrame]:
        """One row an account: id, probability, prediction, risk band, model version. Can be asked for once."""
        ...

    def record(self) -> Record:
        """What is published beside them, when the last batch has been taken."""
        ...


@dataclass(frozen=True)
class Publication:
    """Scores as they were published; see `Record` for the other attributes.

    Attributes:
        predictions: One row an account: id, probability, prediction, risk band, model version.
        run_id: Names the run and its folder.
    """

    predictions: Table
    profile: dict[str, Any]
    model: dict[str, Any]
    source: dict[str, Any]
    as_of: date
    run_id: str
