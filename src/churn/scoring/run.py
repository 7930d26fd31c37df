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
from churn.retention.calls import call_plan, total_in_cents
from churn.retention.order import best_first, in_cents
from churn.retention.profit import choose, expected_cost
from churn.retention.reasons import offer_costs
from churn.retention.terms import Terms
from churn.retention.wording import check_sentences
from churn.scoring.campaign import Asked, CampaignRun, count_groups, no_groups
from churn.scoring.candidates import EXPECTED, PROBABILITY, VALUE, Candidates
from churn.scoring.ledger import Selection
from churn.scoring.publication import ListFacts, Record, Scores, origin_of, reference_of
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
        cost: Expected cost of acting on them, in currency.
        profile: Counts in the bins of the model's reference profile.
        groups: Accounts that would be acted on, by what may be done with them, see `churn.experiment.policy`, shape (4,).
    """

    rows: int
    at_risk: int
    to_act_on: int
    expected_profit: float
    cost: float
    profile: Profile
    groups: tuple[int, ...] = no_groups()

    def __add__(self, later: "Tally") -> "Tally":
        return Tally(
            self.rows + later.rows,
            self.at_risk + later.at_risk,
            self.to_act_on + later.to_act_on,
            self.expected_profit + later.expected_profit,
            self.cost + later.cost,
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
    accounts: pd.DataFrame,
    model: ChurnModel,
    profit: Profit,
    decision: Decision,
    reasons: Reasons | None = None,
    campaign: Campaign | None = None,
) -> ScoredRows:
    """Score canonical account rows; rows do not influence each other.

    Args:
        accounts: The rows.
        model: Model to score with.
        profit: Values and costs of acting on accounts.
        decision: Rule for the accounts to act on.
        reasons: Reasons, if their actions have costs of their own: then all rows are explained.
        campaign: Who is kept back and who is not contacted; None for nobody.
    """
    predictions = model.score(accounts)
    probability = predictions["probability"].to_numpy()
    value, offer = account_values(accounts, profit), None
    if reasons is not None and reasons.has_costs:
        terms = Terms.of(model.encoder, model.reference)
        explained = explain_accounts(model.explain_terms, accounts, probability, terms, reasons, profit.currency)
        offer = offer_costs(explained.actions, reasons, profit)
    saved = None if campaign is None else campaign.saved(accounts, probability)
    expected = in_cents(expected_profit(probability, value, profit, offer, saved))
    # Which accounts pay by themselves; the rule ``capacity`` takes the first of them.
    each = decision if decision.rule != "capacity" else decision.model_copy(update={"rule": "profit"})
    act = choose(probability, value, profit, each, model.threshold, offer_cost=offer, saved=saved)
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
        cost=float(in_cents(expected_cost(probability, profit, offer, saved))[act].sum()),
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
        carry: tuple[str, ...] = (),
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
            reasons: Number of reasons, minimum probability, sentences and actions.
            carry: Columns of the table that the list shows.
            campaign: The campaign, with the accounts of earlier runs; None without one.

        Raises:
            ParametersError: If a configured sentence is faulty, see `churn.retention.wording.check_texts`.
        """
        self._model = model
        self._selection, self._follows, self._as_of = selection, follows, as_of
        self._profit, self._decision, self._reasons = profit, decision, reasons
        self._terms = Terms.of(model.encoder, model.reference)
        self._group = decision.capacity_by if decision.rule == "capacity" else None
        self._own_columns = tuple(dict.fromkeys([*carry, *([self._group] if self._group else [])]))
        check_sentences(reasons, self._terms)
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
        best = self._best()
        listed, cost = self._listed(best)
        chosen = (listed["recommended_action"] == "yes").to_numpy(bool)
        if self._decision.rule == "capacity":
            profit = float(listed["expected_profit"][chosen].sum())
            tally = replace(
                tally, to_act_on=int(chosen.sum()), expected_profit=profit, cost=total_in_cents(cost[chosen])
            )
        # Accounts to act on come onto the list before others, which matters where they are not the first ones.
        shown = np.sort(np.argsort(~chosen, kind="stable")[: self._decision.list_length])
        listed, cost = listed.iloc[shown].reset_index(drop=True), cost[shown]
        acted = int((listed["recommended_action"] == "yes").sum())
        asked = self._asked(best, listed, tally)
        return Record(
            rows=tally.rows,
            at_risk=tally.at_risk,
            # The order of the keys is that of the stored documents.
            profile={"reference": {}, "scored": tally.profile.to_dict(), **reference_of(model)},
            model=origin_of(model),
            source={**self._selection.source, "rows": tally.rows},
            as_of=self._as_of,
            to_act_on=tally.to_act_on,
            expected_profit=round(tally.expected_profit, 2),
            example_costs=self._profit.examples,
            retention_list=listed,
            ledger=self._selection.ledger,
            follows=self._follows,
            facts=ListFacts(
                self._own_columns,
                self._profit,
                self._decision,
                self._reasons.language,
                call_plan(listed["expected_profit"], cost, acted),
                round(tally.cost, 2),
            ),
            campaign=None if asked is None else asked.said,
            campaign_accounts=None if asked is None else asked.accounts,
        )

    def _asked(self, best: pd.DataFrame, listed: pd.DataFrame, tally: Tally) -> Asked | None:
        """Return what the run asks for, if there is a campaign."""
        run, model = self._campaign_run, self._model
        if run is None:
            return None
        ids = listed.iloc[:, 0][(listed["recommended_action"] == "yes").to_numpy(bool)]
        called = best.iloc[pd.Index(best[model.schema.id]).get_indexer(pd.Index(ids))]
        return run.asked(
            called,
            best.head(0) if self._campaign is None else self._kept_back(),
            tally.groups,
            lambda rows: model.scores_of(rows, rows[PROBABILITY].to_numpy()),
            self._profit,
            self._decision,
            self._as_of,
            columns=(*model.schema.numeric_names, *model.schema.categorical),
            cut=tally.to_act_on > len(called),
        )

    def _listed(self, best: pd.DataFrame) -> tuple[pd.DataFrame, NDArray[np.float64]]:
        """Return the retention list of the candidates, each with its reasons, and the expected costs of acting on them."""
        model, profit = self._model, self._profit
        probability, value, ids = best[PROBABILITY].to_numpy(), best[VALUE].to_numpy(), best[model.schema.id]
        explained = explain_accounts(
            model.explain_terms, best, probability, self._terms, self._reasons, profit.currency
        )
        offer = offer_costs(explained.actions, self._reasons, profit)
        saved = None if self._campaign is None else self._campaign.saved(best, probability)
        groups = None if self._group is None else best[self._group]
        act = choose(
            probability,
            value,
            profit,
            self._decision,
            model.threshold,
            ids,
            offer_cost=offer,
            groups=groups,
            saved=saved,
        )
        listed = retention_list(
            model.scores_of(best, probability),
            value=value,
            expected_profit=best[EXPECTED].to_numpy(),
            act=act,
            reasons=explained.words,
            as_of=self._as_of,
            carried=best[list(self._own_columns)],
            suggestions=explained.suggestions(self._reasons),
        )
        order = best_first(best[EXPECTED], probability, ids)
        return listed, in_cents(expected_cost(probability, profit, offer, saved))[order]


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
        groups = None if self._group is None else (self._group, self._decision.capacity)
        self._candidates = Candidates(self._list_size, model.schema.id, groups)
        self._others = Candidates(self._list_size, model.schema.id, groups)

    def batches(self) -> Iterator[pd.DataFrame]:
        """Iterate over the scores in the order of the table; on the CPU, each core scores a batch of its own."""
        model, device = self._model, self._model.device
        workers = cores() if device == CPU else 1

        def score(accounts: pd.DataFrame) -> tuple[pd.DataFrame, ScoredRows]:
            return accounts, score_rows(accounts, model, self._profit, self._decision, self._reasons, self._campaign)

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
