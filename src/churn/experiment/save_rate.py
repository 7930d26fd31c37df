"""The save rate as the campaigns have measured it, and how much of the assumed one is left in it."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field

from churn.config import Experiment, Profit

# Points of the save rate at which its distribution is computed.
GRID = 4_001
# The distribution never becomes narrower than a beta distribution with this sum of parameters.
MOST_CERTAIN = 100_000.0


class MeasuredRate(NamedTuple):
    """The save rate of the calls: what they kept, as a share of those that would have left.

    Attributes:
        value: The estimate; it may be negative, where calls drive accounts away.
        error: Its standard error.
        called: Called accounts with a known outcome.
        held_out: Accounts kept back with a known outcome.
    """

    value: float
    error: float
    called: int
    held_out: int


def measured_rate(effect: ArrayLike, baseline: ArrayLike, called: ArrayLike) -> MeasuredRate | None:
    """Return the save rate from the doubly robust terms of all accounts; None if nothing can be said.

    It is minus the effect on the churn rate divided by the churn rate without calls, with the error of a ratio of means
    (delta method).

    Args:
        effect: Terms of the effect, see `churn.experiment.always_valid.doubly_robust`, shape (n,).
        baseline: Terms of the churn rate without calls, shape (n,).
        called: Whether each account was drawn to be called, shape (n,).
    """
    kept, without = -np.asarray(effect, dtype=np.float64), np.asarray(baseline, dtype=np.float64)
    group = np.asarray(called, dtype=bool)
    if len(kept) < 2 or not without.mean() > 0:
        return None
    rate = float(kept.mean() / without.mean())
    error = float(np.std(kept - rate * without, ddof=1) / np.sqrt(len(kept)) / without.mean())
    return MeasuredRate(rate, error, int(group.sum()), int((~group).sum())) if error > 0 else None


class SaveRate(BaseModel):
    """The distribution of the save rate: a beta distribution, as `profit.save_rate_certainty` describes it.

    Attributes:
        value: Its mean.
        certainty: Sum of its parameters.
        low: Quantile of 2.5 %.
        high: Quantile of 97.5 %.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float = Field(ge=0, le=1)
    certainty: float = Field(gt=0)
    low: float
    high: float


def updated_rate(profit: Profit, measured: MeasuredRate | None) -> SaveRate:
    """Return the assumed save rate, updated by the measured one.

    Bayes' rule with the assumed beta distribution as the prior and the normal distribution of the estimate as the
    likelihood, and then the beta distribution with the mean and the variance of the result. With few outcomes the error is
    large and the assumed rate stays; with many the measured one takes over.

    Args:
        profit: Assumed save rate and its certainty.
        measured: The measured one; None for none.
    """
    from scipy.special import betaincinv

    alpha = profit.save_rate * profit.save_rate_certainty
    beta = profit.save_rate_certainty - alpha
    # A rate of exactly 0 or 1 is certain: no measurement moves it.
    if measured is not None and alpha > 0 and beta > 0:
        rate, density = _posterior(alpha, beta, measured)
        mean = float(density @ rate)
        variance = float(density @ (rate - mean) ** 2)
        total = float(np.clip(mean * (1 - mean) / max(variance, 1e-12) - 1, 1e-3, MOST_CERTAIN))
        alpha, beta = mean * total, (1 - mean) * total
    value = alpha / (alpha + beta)
    ends = (value, value) if min(alpha, beta) == 0 else tuple(betaincinv(alpha, beta, [0.025, 0.975]).tolist())
    return SaveRate(value=value, certainty=alpha + beta, low=ends[0], high=ends[1])


def _posterior(alpha: float, beta: float, measured: MeasuredRate) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rate = (np.arange(GRID) + 0.5) / GRID
    # A precise estimate would lie between the points.
    error = max(measured.error, 1.0 / GRID)
    logs = (alpha - 1) * np.log(rate) + (beta - 1) * np.log1p(-rate) - 0.5 * ((rate - measured.value) / error) ** 2
    density = np.exp(logs - logs.max())
    return rate, density / density.sum()


class EffectOrder(BaseModel):
    """Whether the order by effect is in use, and why.

    Attributes:
        in_use: Whether the list is ordered by the effect of a call.
        reason: Why, or why not, in a sentence.
        contacts: Called accounts with a known outcome at the last trial.
        trials: Number of trials so far.
        gain: Value of the order by effect over that by risk, in currency per account; None before the first trial.
        low: Lower end of its interval.
        high: Upper end.
        trees: The model of the effect, as JSON; None unless it is in use.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    in_use: bool = False
    reason: str = "no campaign has been measured yet"
    contacts: int = 0
    trials: int = 0
    gain: float | None = None
    low: float | None = None
    high: float | None = None
    trees: str | None = None


class CallEffect(BaseModel):
    """What the campaigns have shown so far: the state that the campaign pipeline keeps for scoring and training.

    Attributes:
        save_rate: Distribution of the save rate, shrunk to the assumed one.
        assumed: The assumed save rate.
        measured: The measured one; None while nothing is known.
        error: Its standard error.
        called: Called accounts with a known outcome.
        held_out: Accounts kept back with a known outcome.
        campaigns: Names of the campaigns with known outcomes.
        order: Whether the order by effect is in use.
        verdict: What the campaigns show so far, in a sentence.
        summary: Numbers of the last report for the health report.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    save_rate: SaveRate
    assumed: float
    measured: float | None = None
    error: float | None = None
    called: int = 0
    held_out: int = 0
    campaigns: tuple[str, ...] = ()
    order: EffectOrder = EffectOrder()
    verdict: str = ""
    summary: dict[str, Any] = {}


def profit_in_use(profit: Profit, experiment: Experiment, known: CallEffect | None) -> Profit:
    """Return the amounts with the save rate in use: the measured one if `experiment.use` is true and there is one.

    The assumed rate is that of the parameters, not that of the state: a change of the assumption counts at once.
    """
    if not experiment.use or known is None or known.measured is None or known.error is None:
        return profit
    rate = updated_rate(profit, MeasuredRate(known.measured, known.error, known.called, known.held_out))
    said = (
        f"measured in {len(known.campaigns)} campaign{'s' if len(known.campaigns) != 1 else ''} with "
        f"{known.called:,} called accounts and {known.held_out:,} kept back; assumed was {profit.save_rate:.2f}"
    )
    return profit.with_save_rate(rate.value, rate.certainty, said)


def published_rate(profit: Profit) -> dict[str, Any]:
    """Return the save rate in use for manifests, cards and pages."""
    return {
        "value": round(profit.save_rate, 6),
        "certainty": round(profit.save_rate_certainty, 3),
        "source": "measured" if profit.measured else "assumed",
        "sentence": profit.save_rate_sentence,
    }
