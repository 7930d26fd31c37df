"""Scoring a table of any length: one pass, a batch at a time, in bounded memory."""

from collections.abc import Iterable, Iterator
from datetime import date

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn.drift import Profile, count_profile
from churn.model import ChurnModel
from churn.parameters import Decision, Profit, Reasons
from churn.partitions import Selection
from churn.profit import account_values, choose, expected_profit
from churn.publication import Record
from churn.reasons import check_texts, explain_accounts, typical_values
from churn.retention_list import retention_list

# Columns beside those of the accounts while candidates for the list are kept.
VALUE, EXPECTED = "(value)", "(expected profit)"


class ScoringRun:
    """Scores of a table, and what follows from them; see `churn.publication.Scores`."""

    def __init__(
        self,
        accounts: Iterable[pd.DataFrame],
        model: ChurnModel,
        *,
        selection: Selection,
        follows: str | None = None,
        as_of: date,
        profit: Profit,
        decision: Decision,
        reasons: Reasons,
    ) -> None:
        """Declare what is scored and how it is decided on.

        Args:
            accounts: Canonical account rows, in batches.
            model: What scores them.
            selection: Which files of the table these accounts are.
            follows: See `churn.publication.Record`.
            as_of: Date of the snapshot.
            profit: What acting costs and brings.
            decision: Which accounts to act on, and how long the list is.
            reasons: The sentences.

        Raises:
            ParametersError: If a sentence could not be written.
        """
        self._accounts, self._model = accounts, model
        self._selection, self._follows, self._as_of = selection, follows, as_of
        self._profit, self._decision, self._reasons = profit, decision, reasons
        self._typical = typical_values(model.encoder, model.reference)
        check_texts(reasons, list(self._typical))
        self._rows = self._at_risk = self._to_act_on = 0
        self._expected_profit = 0.0
        self._profile: Profile | None = None
        capacity = decision.capacity if decision.rule == "capacity" else 0
        self._candidates = Candidates(max(decision.list_length, capacity))

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to score."""
        return not self._selection.names

    def batches(self) -> Iterator[pd.DataFrame]:
        """The scores, in the order of the table."""
        for accounts in self._accounts:
            predictions = self._model.score(accounts)
            self._count(accounts, predictions)
            yield predictions

    def _count(self, accounts: pd.DataFrame, predictions: pd.DataFrame) -> None:
        probability = predictions["probability"].to_numpy()
        value = account_values(accounts, self._profit)
        expected = expected_profit(probability, value, self._profit)
        self._rows += len(accounts)
        self._at_risk += int(predictions["prediction"].sum())
        if self._decision.rule != "capacity":
            act = choose(probability, value, self._profit, self._decision, self._model.threshold)
            self._to_act_on += int(act.sum())
            self._expected_profit += float(np.round(expected[act], 2).sum())
        counted = count_profile(self._model.reference, accounts, probability)
        self._profile = counted if self._profile is None else self._profile + counted
        self._candidates.add(accounts, probability, value, expected)

    def record(self) -> Record:
        """What is published beside the scores, when all batches have been taken."""
        if self._profile is None:
            raise ValueError("no batch of scores was taken")
        model = self._model
        origin = model.source
        listed = self._listed()
        if self._decision.rule == "capacity":
            chosen = listed["recommended_action"] == "yes"
            self._to_act_on, self._expected_profit = int(chosen.sum()), float(listed["expected_profit"][chosen].sum())
        return Record(
            rows=self._rows,
            at_risk=self._at_risk,
            profile={
                "reference": model.reference.to_dict(),
                "scored": self._profile.to_dict(),
                "performance": dict(model.performance),
                "importance": dict(model.importance),
                "threshold": model.threshold,
                "risk_bands": [band.name for band in model.risk_bands],
            },
            model={
                "uri": origin.uri if origin else None,
                "version": model.version,
                "sha256": model.sha256,
                "run_id": origin.run_id if origin else None,
            },
            source={**self._selection.source, "rows": self._rows},
            as_of=self._as_of,
            to_act_on=self._to_act_on,
            expected_profit=round(self._expected_profit, 2),
            retention_list=listed.head(self._decision.list_length),
            ledger=self._selection.ledger,
            follows=self._follows,
        )

    def _listed(self) -> pd.DataFrame:
        """The candidates as a list, each with its reasons."""
        best = self._candidates.best()
        probability, value = best["probability"].to_numpy(), best[VALUE].to_numpy()
        return retention_list(
            self._model.scores_of(best, probability),
            value=value,
            expected_profit=best[EXPECTED].to_numpy(),
            act=choose(probability, value, self._profit, self._decision, self._model.threshold),
            reasons=explain_accounts(self._model.explain, best, probability, self._typical, self._reasons),
            as_of=self._as_of,
        )


class Candidates:
    """The accounts on which acting pays most among those seen so far, in the order in which they came."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._parts: list[pd.DataFrame] = []
        self._count = 0
        self._least = -np.inf  # expected profit of the last of the best, once there are enough

    def add(
        self,
        accounts: pd.DataFrame,
        probability: NDArray[np.float32],
        value: NDArray[np.float64],
        expected: NDArray[np.float64],
    ) -> None:
        """Look at accounts: n canonical rows, and arrays of shape (n,)."""
        part = accounts.assign(probability=probability)
        part[VALUE], part[EXPECTED] = value, expected
        if self._least > -np.inf:
            part = part[expected >= self._least]
        self._parts.append(part)
        self._count += len(part)
        if self._count > 2 * self._size:
            self._keep_best()

    def _keep_best(self) -> None:
        rows = pd.concat(self._parts, ignore_index=True)
        expected = rows[EXPECTED].to_numpy()
        # Ties go to the higher probability, then to the earlier row, as in `churn.profit.choose`.
        order = np.lexsort((np.arange(len(rows)), -rows["probability"].to_numpy(), -expected))[: self._size]
        if len(order) == self._size:
            self._least = float(expected[order[-1]])
        self._parts = [rows.iloc[np.sort(order)]]
        self._count = len(order)

    def best(self) -> pd.DataFrame:
        """The best, with their value and expected profit."""
        self._keep_best()
        return self._parts[0].reset_index(drop=True)
