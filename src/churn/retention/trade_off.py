"""What a model is worth in money against calling everybody, nobody or accounts at random, and what its threshold trades.

All profits are those of `churn.retention.profit.realised_profit`: differences to calling nobody, on accounts with known outcomes.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from churn.config import Decision, Profit
from churn.retention.profit import choose, realised_profit, same_length

# Thresholds to compare, besides that of the model.
THRESHOLDS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


class Outcome(NamedTuple):
    """Result of calling some of the accounts.

    Attributes:
        called: Number of accounts that are called.
        churners: Number of them that churned.
        precision: Share of the called accounts that churned; None if none is called.
        found: Share of all churned accounts that are called; None if none churned.
        profit: Profit of all calls, in currency.
        per_account: Profit divided by all accounts, called or not, in currency.
    """

    called: float
    churners: float
    precision: float | None
    found: float | None
    profit: float
    per_account: float


class TradeOff(NamedTuple):
    """Profits of the policies and of the thresholds.

    Attributes:
        accounts: Number of accounts.
        threshold: Threshold of the model.
        policies: Outcome by policy: ``profit`` calls where the expected profit is above 0, ``threshold`` from the threshold
            on, ``everybody``, ``random`` as many as ``profit``, and ``nobody``.
        thresholds: Threshold and outcome, ascending, those of `THRESHOLDS` from which anybody is called, and the model's.
    """

    accounts: int
    threshold: float
    policies: dict[str, Outcome]
    thresholds: list[tuple[float, Outcome]]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "accounts": self.accounts,
            "threshold": self.threshold,
            "policies": {name: outcome._asdict() for name, outcome in self.policies.items()},
            "thresholds": [{"threshold": at, **outcome._asdict()} for at, outcome in self.thresholds],
        }


def trade_off(
    labels: ArrayLike, probability: ArrayLike, value: ArrayLike, profit: Profit, threshold: float
) -> TradeOff:
    """Compute what calling accounts brings by several policies, and by thresholds of the probability.

    Accounts that are picked at random bring what calling everybody does, in proportion to their number, and find churners in
    proportion too: the expectation over all ways to pick them.

    Args:
        labels: Outcomes without calls, shape (n,), 1 for churned and 0 for stayed.
        probability: Probabilities of churn, shape (n,).
        value: Values of the accounts in currency, shape (n,) or one number.
        profit: Costs and save rate.
        threshold: Probability from which churn is predicted.

    Raises:
        ChurnError: There is no account, or the lengths differ.
    """
    truth, chance, worth = same_length(labels, probability, value)
    churned = float(truth.sum())

    def outcome(acted: NDArray[np.bool_]) -> Outcome:
        made = float(realised_profit(truth, acted, worth, profit).sum())
        return _outcome(float(acted.sum()), float(truth[acted].sum()), made, churned, len(truth))

    everybody = outcome(np.ones(truth.shape, dtype=np.bool_))
    chosen = outcome(choose(chance, worth, profit, Decision(rule="profit"), threshold))
    share = chosen.called / len(truth)
    policies = {
        "profit": chosen,
        "threshold": outcome(chance >= threshold),
        "everybody": everybody,
        "random": _outcome(chosen.called, share * churned, share * everybody.profit, churned, len(truth)),
        "nobody": _outcome(0.0, 0.0, 0.0, churned, len(truth)),
    }
    highest = float(chance.max())
    steps = sorted({step for step in THRESHOLDS if step <= highest} | {threshold})
    return TradeOff(len(truth), threshold, policies, [(step, outcome(chance >= step)) for step in steps])


def _outcome(called: float, churners: float, made: float, churned: float, accounts: int) -> Outcome:
    return Outcome(
        called=called,
        churners=churners,
        precision=churners / called if called else None,
        found=churners / churned if churned else None,
        profit=made,
        per_account=made / accounts,
    )
