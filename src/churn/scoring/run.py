"""Score a table of any length in one pass, in batches and bounded memory."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from functools import singledispatch
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from churn.config import Decision, Profit, Reasons
from churn.experiment.policy import KEPT_BACK, OPEN, Campaign
from churn.model import ChurnModel, Profile
from churn.model.device import CPU
from churn.model.profile import count_profile
from churn.retention import account_values, expected_profit, explain_accounts, retention_list
from churn.retention.order import best_first, in_cents
from churn.retention.profit import choose
from churn.retention.reasons import check_texts, typical_values
from churn.scoring.campaign import EXPECTED, PROBABILITY, VALUE, CampaignRun, count_groups, no_groups
from churn.scoring.ledger import Selection
from churn.scoring.publication import Record, Scores
from churn.tables import CheckedBatches
from churn.tables.parallel import cores


@dataclass(frozen=True)
class Tally:
    """Counts and sums of scored rows; those of the parts of a table add up to those of the table.

    Attributes:
        rows: Number of accounts scored.
        at_risk: Number of accounts whose probability is at or above the threshold.
        to_act_on: Number of accounts to act on; 0 for the rule ``capacity``, which depends on all accounts together.
        expected_profit: Expected profit of acting on them, in currency.
        profile: Counts in the bins of the model's reference profile.
        groups: Accounts that would be acted on, by what may be done with them, see `churn.experiment.policy`, shape (4,).
    """

    rows: int
    at_risk: int
    to_act_on: int
    expected_profit: float
    profile: Profile
    groups: tuple[int, ...] = no_groups()

    def __add__(self, later: "Tally") -> "Tally":
        return Tally(
            self.rows + later.rows,
            self.at_risk + later.at_risk,
            self.to_act_on + later.to_act_on,
            self.expected_profit + later.expected_profit,
            self.profile + later.profile,
            tuple(map(sum, zip(self.groups, later.groups, strict=True))),
        )


class ScoredRows(NamedTuple):
    """Scores of some rows, the value and expected profit of each account in currency, shape (n,), and the tally.

    The groups say what may be done with each account, see `churn.experiment.policy`, shape (n,).
    """

    predictions: pd.DataFrame
    value: NDArray[np.float64]
    expected: NDArray[np.float64]
    tally: Tally
    groups: NDArray[np.int8]


def score_rows(
    accounts: pd.DataFrame, model: ChurnModel, profit: Profit, decision: Decision, campaign: Campaign | None = None
) -> ScoredRows:
    """Score canonical account rows; rows do not influence each other."""
    predictions = model.score(accounts)
    probability = predictions["probability"].to_numpy()
    value = account_values(accounts, profit)
    saved = None if campaign is None else campaign.saved(accounts, probability)
    exact = expected_profit(probability, value, profit, saved)
    expected = in_cents(exact)
    # Which accounts pay by themselves; the rule ``capacity`` takes the first of them.
    each = decision if decision.rule != "capacity" else decision.model_copy(update={"rule": "profit"})
    act = choose(probability, value, profit, each, model.threshold, expected=exact)
    groups = np.full(len(accounts), OPEN, np.int8) if campaign is None else campaign.groups(accounts, act)
    if campaign is not None and campaign.share:
        predictions = flagged(predictions, groups == KEPT_BACK)
    counted = count_groups(groups, act)
    act = act & (groups == OPEN) if decision.rule != "capacity" else np.zeros(len(accounts), dtype=bool)
    tally = Tally(
        rows=len(accounts),
        at_risk=int(predictions["prediction"].sum()),
        to_act_on=int(act.sum()),
        expected_profit=float(expected[act].sum()),
        profile=count_profile(model.reference, accounts, probability),
        groups=counted,
    )
    return ScoredRows(predictions, value, expected, tally, groups)


def flagged(predictions: pd.DataFrame, kept_back: ArrayLike) -> pd.DataFrame:
    """Return scores with a last column that says which accounts are kept back, 1 or 0."""
    return predictions.assign(held_out=np.asarray(kept_back).astype(np.int8))


@singledispatch
def scoring_run(accounts: Any, model: ChurnModel, **terms: Any) -> Scores:
    """Return the scores of a table, which are computed while they are read.

    Args:
        accounts: Result of `churn.tables.batches.checked_table`; `churn.spark` registers the implementation for Spark.
        model: Model to score with.
        terms: Further arguments of `Scoring`.
    """
    return ScoringRun(accounts, model, **terms)


class Scoring(ABC):
    """Scores of a table and the results that follow from them; implements `churn.scoring.publication.Scores`."""

    def __init__(
        self,
        model: ChurnModel,
        *,
        selection: Selection,
        follows: str | None = None,
        as_of: date,
        profit: Profit,
        decision: Decision,
        reasons: Reasons,
        campaign: CampaignRun | None = None,
    ) -> None:
        """Declare the model and the settings.

        Args:
            model: Model to score with.
            selection: Selected files of the table.
            follows: See `churn.scoring.publication.Record`.
            as_of: Date of the snapshot.
            profit: Values and costs of acting on accounts.
            decision: Rule for the accounts to act on, and length of the list.
            reasons: Number of reasons, minimum probability, and sentences.
            campaign: The campaign, with the accounts of earlier runs; None without one.

        Raises:
            ParametersError: If a configured sentence is faulty, see `churn.retention.reasons.check_texts`.
        """
        self._model = model
        self._selection, self._follows, self._as_of = selection, follows, as_of
        self._profit, self._decision, self._reasons = profit, decision, reasons
        self._typical = typical_values(model.encoder, model.reference)
        check_texts(reasons, list(self._typical))
        self._tally: Tally | None = None
        self._campaign_run = campaign
        self._campaign = None if campaign is None else campaign.campaign

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to score."""
        return not self._selection.names

    def _count(self, tally: Tally) -> None:
        """Add the tally of more rows."""
        self._tally = tally if self._tally is None else self._tally + tally

    @property
    def _list_size(self) -> int:
        """Number of the best accounts to keep: for the list and the rule ``capacity``."""
        capacity = self._decision.capacity if self._decision.rule == "capacity" else 0
        return max(self._decision.list_length, capacity)

    @abstractmethod
    def batches(self) -> Iterator[pd.DataFrame]:
        """Iterate over the scores in the order of the table."""

    @abstractmethod
    def _best(self) -> pd.DataFrame:
        """Return the accounts with the highest expected profit, as `Candidates.best` does, that may be contacted."""

    @abstractmethod
    def _kept_back(self) -> pd.DataFrame:
        """Return the accounts with the highest expected profit that are kept back, in the same form."""

    def record(self) -> Record:
        """Return the results that are published with the scores; call it after the last batch."""
        tally = self._tally
        if tally is None:
            raise ValueError("no batch of scores was read yet; iterate over batches() first")
        model = self._model
        origin = model.source
        best = self._best()
        act = self._acted(best)
        listed = self._listed(best, act)
        asked = None
        if self._campaign_run is not None:
            kept_back = best.head(0) if self._campaign is None else self._kept_back()
            asked = self._campaign_run.asked(
                best, act, kept_back, tally.groups, self._scores_of, self._profit, self._decision, self._as_of
            )
        if self._decision.rule == "capacity":
            chosen = listed["recommended_action"] == "yes"
            profit = float(listed["expected_profit"][chosen].sum())
            tally = replace(tally, to_act_on=int(chosen.sum()), expected_profit=profit)
        return Record(
            rows=tally.rows,
            at_risk=tally.at_risk,
            profile={
                "reference": model.reference.to_dict(),
                "scored": tally.profile.to_dict(),
                "performance": dict(model.performance),
                "importance": dict(model.importance),
                "threshold": model.threshold,
                "risk_bands": [band.name for band in model.risk_bands],
                **({"stayed": list(stayed)} if (stayed := model.schema.label.negatives) else {}),
            },
            model={
                "uri": origin.uri if origin else None,
                "version": model.version,
                "sha256": model.sha256,
                "run_id": origin.run_id if origin else None,
            },
            source={**self._selection.source, "rows": tally.rows},
            as_of=self._as_of,
            to_act_on=tally.to_act_on,
            expected_profit=round(tally.expected_profit, 2),
            example_costs=self._profit.examples,
            retention_list=listed.head(self._decision.list_length),
            ledger=self._selection.ledger,
            follows=self._follows,
            campaign=None if asked is None else asked.said,
            campaign_accounts=None if asked is None else asked.accounts,
        )

    def _scores_of(self, best: pd.DataFrame) -> pd.DataFrame:
        return self._model.scores_of(best, best[PROBABILITY].to_numpy())

    def _acted(self, best: pd.DataFrame) -> NDArray[np.bool_]:
        """Return which of the candidates to act on, shape (n,)."""
        probability, value = best[PROBABILITY].to_numpy(), best[VALUE].to_numpy()
        saved = None if self._campaign is None else self._campaign.saved(best, probability)
        expected = None if saved is None else expected_profit(probability, value, self._profit, saved)
        ids, threshold = best[self._model.schema.id], self._model.threshold
        return choose(probability, value, self._profit, self._decision, threshold, ids, expected=expected)

    def _listed(self, best: pd.DataFrame, act: NDArray[np.bool_]) -> pd.DataFrame:
        """Return the retention list of the candidates, each with its reasons."""
        probability = best[PROBABILITY].to_numpy()
        return retention_list(
            self._scores_of(best),
            value=best[VALUE].to_numpy(),
            expected_profit=best[EXPECTED].to_numpy(),
            act=act,
            reasons=explain_accounts(self._model.explain, best, probability, self._typical, self._reasons),
            as_of=self._as_of,
        )


class ScoringRun(Scoring):
    """Scores of batches of accounts."""

    def __init__(self, accounts: CheckedBatches, model: ChurnModel, **terms: Any) -> None:
        """Declare the accounts and the model.

        Args:
            accounts: Account rows, in batches.
            model: Model to score with.
            terms: Further arguments of `Scoring`.
        """
        super().__init__(model, **terms)
        self._accounts = accounts
        self._candidates = Candidates(self._list_size, model.schema.id)
        self._others = Candidates(self._list_size, model.schema.id)

    def batches(self) -> Iterator[pd.DataFrame]:
        """Iterate over the scores in the order of the table; on the CPU, each core scores a batch of its own."""
        model, device = self._model, self._model.device
        workers = cores() if device == CPU else 1

        def score(accounts: pd.DataFrame) -> tuple[pd.DataFrame, ScoredRows]:
            return accounts, score_rows(accounts, model, self._profit, self._decision, self._campaign)

        model.use(device=device, threads=1 if workers > 1 else 0)
        try:
            for accounts, (predictions, value, expected, tally, groups) in self._accounts.mapped(score, workers):
                self._count(tally)
                probability = predictions["probability"].to_numpy()
                if self._campaign is None:
                    self._candidates.add(accounts, probability, value, expected)
                else:
                    for chosen, rows in ((self._candidates, groups == OPEN), (self._others, groups == KEPT_BACK)):
                        chosen.add(accounts[rows], probability[rows], value[rows], expected[rows])
                yield predictions
        finally:
            model.use(device=device)

    def _best(self) -> pd.DataFrame:
        return self._candidates.best()

    def _kept_back(self) -> pd.DataFrame:
        return self._others.best()


class Candidates:
    """The accounts with the highest expected profit among those added so far, in the order of the table."""

    def __init__(self, size: int, id_column: str) -> None:
        """Declare the number of accounts to keep, and the column of the ids."""
        self._size, self._id = size, id_column
        self._parts: list[pd.DataFrame] = []
        self._count = 0
        self._least = -np.inf  # lowest expected profit among the best, once `size` accounts are kept

    def add(
        self,
        accounts: pd.DataFrame,
        probability: NDArray[np.float32],
        value: NDArray[np.float64],
        expected: NDArray[np.float64],
    ) -> None:
        """Add accounts: n canonical rows, and arrays of shape (n,)."""
        part = accounts.copy(deep=False)
        part[PROBABILITY], part[VALUE], part[EXPECTED] = probability, value, expected
        if self._least > -np.inf:
            part = part[expected >= self._least]
        self._parts.append(part)
        self._count += len(part)
        if self._count > 2 * self._size:
            self._keep_best()

    def _keep_best(self) -> None:
        rows = pd.concat(self._parts, ignore_index=True)
        expected = rows[EXPECTED].to_numpy()
        order = best_first(expected, rows[PROBABILITY], rows[self._id])[: self._size]
        if len(order) == self._size:
            self._least = float(expected[order[-1]])
        self._parts = [rows.iloc[np.sort(order)]]
        self._count = len(order)

    def best(self) -> pd.DataFrame:
        """Return the best accounts, with their probability, value and expected profit."""
        self._keep_best()
        return self._parts[0].reset_index(drop=True)
