"""Scores of a few rows at a time, as a service needs them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd

from churn.config import AccountSchema
from churn.errors import AccountsError
from churn.tables import as_text
from churn.tables.checks import NO_ROWS, check_accounts


class RowFault(NamedTuple):
    """A fault of one row.

    Attributes:
        row: Position of the row among the records, from 0.
        column: Name of the column; None if the fault is of the row as a whole.
        message: The sentence that the batch check writes of this row alone, in which rows count from 1.
    """

    row: int
    column: str | None
    message: str


class RowScore(NamedTuple):
    """The score of one row.

    Attributes:
        row: Position of the row among the records, from 0.
        id: Canonical id of the account.
        probability: Probability of churn, exactly the float32 of the batch path.
        prediction: 1 if the probability is at or above the threshold, else 0.
        risk_band: Name of the risk band.
        account: Canonical values by column: id, numeric columns (nan where missing) and categorical ones (None).
        drivers: Columns that raise the score most and their contributions in log-odds, the largest first; empty unless
            reasons are asked for.
    """

    row: int
    id: str
    probability: float
    prediction: int
    risk_band: str
    account: Mapping[str, float | str | None]
    drivers: tuple[tuple[str, float], ...] = ()


class PartialScores(NamedTuple):
    """Scores of the rows without faults, and the faults of the others, both in the order of the records."""

    scores: list[RowScore]
    faults: list[RowFault]


class Scorer(Protocol):
    """The part of a model that scores whole tables."""

    schema: AccountSchema

    def score(self, accounts: pd.DataFrame) -> pd.DataFrame: ...
    def explain(self, accounts: pd.DataFrame) -> pd.DataFrame: ...


def first_scores(model: Any, records: Sequence[Mapping[str, Any]], reasons: int) -> list[RowScore]:
    """Score rows with the batch path."""
    if not records:
        raise AccountsError("accounts to score", [NO_ROWS])
    schema = model.schema
    frame = pd.DataFrame(list(records), dtype=object)
    accounts = check_accounts(frame, schema, subject="accounts to score", labelled=False).accounts
    scores = model.score(accounts)
    result = []
    explained = model.explain(accounts).drop(columns="(baseline)") if reasons else None
    for row in range(len(accounts)):
        values = {
            name: (None if isinstance(value, float) and name in schema.text_columns else value)
            for name, value in accounts.iloc[row].to_dict().items()
        }
        drivers: tuple[tuple[str, float], ...] = ()
        if explained is not None:
            of_row = explained.iloc[row]
            order = np.argsort(-of_row.to_numpy(), kind="stable")[:reasons]
            drivers = tuple((str(of_row.index[at]), float(of_row.iloc[at])) for at in order if of_row.iloc[at] > 0)
        result.append(
            RowScore(
                row,
                str(as_text(accounts[schema.id]).iloc[row]),
                float(scores["probability"].iloc[row]),
                int(scores["prediction"].iloc[row]),
                str(scores["risk_band"].iloc[row]),
                values,
                drivers,
            )
        )
    return result


def first_partial(model: Any, records: Sequence[Mapping[str, Any]], reasons: int) -> PartialScores:
    """Score the rows without faults with the batch path."""
    scores: list[RowScore] = []
    faults: list[RowFault] = []
    for row, record in enumerate(records):
        try:
            scores += [each._replace(row=row) for each in first_scores(model, [record], reasons)]
        except AccountsError as error:
            faults += [RowFault(row, fault.partition(":")[0], fault) for fault in error.faults]
    return PartialScores(scores, faults)
