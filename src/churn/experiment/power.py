"""What a campaign can show, before it starts: the power to tell a save rate from none."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from churn.config import Experiment
from churn.experiment.effect import normal_quantile

# The usual power to plan for.
PLANNED = 0.8


class Power(NamedTuple):
    """What a campaign of a size can show.

    Attributes:
        called: Accounts to call.
        held_out: Accounts kept back.
        save_rate: The assumed save rate.
        power: Probability that the interval of the effect excludes 0 at that save rate.
        least_save_rate: Smallest save rate that is told from none with a probability of 0.8; None if even 1 is not.
        needed: Smallest share to keep back of as many accounts for a power of 0.8; None if no share up to 0.5 suffices.
    """

    called: int
    held_out: int
    save_rate: float
    power: float
    least_save_rate: float | None
    needed: float | None

    @property
    def share(self) -> float:
        """Share of the accounts that is kept back."""
        everyone = self.called + self.held_out
        return self.held_out / everyone if everyone else 0.0


def campaign_power(probability: ArrayLike, held_out: int, save_rate: float, experiment: Experiment) -> Power:
    """Return the power of a campaign from the scores of its accounts.

    The effect is estimated with the score as a covariate, so the variance of an account's outcome is p (1 - p) with its own
    p, and p (1 - g) (1 - p (1 - g)) if it is called with a save rate of g. The power is that of the normal approximation.

    Args:
        probability: Probabilities of churn of all accounts that would be called, called and kept back, shape (n,).
        held_out: How many of them are kept back.
        save_rate: The assumed save rate.
        experiment: Confidence of the interval.
    """
    chance = np.asarray(probability, dtype=np.float64)
    count, total = len(chance), len(chance) - held_out
    level = experiment.confidence

    def power(rate: float, kept: int) -> float:
        return _power(chance, kept, rate, level)

    least = next((rate for rate in np.arange(1, 201) / 200 if power(float(rate), held_out) >= PLANNED), None)
    shares = np.arange(1, 101) / 200
    needed = next((share for share in shares if power(save_rate, round(count * float(share))) >= PLANNED), None)
    return Power(
        called=total,
        held_out=held_out,
        save_rate=save_rate,
        power=power(save_rate, held_out),
        least_save_rate=None if least is None else float(least),
        needed=None if needed is None else float(needed),
    )


def _power(chance: NDArray[np.float64], held_out: int, rate: float, confidence: float) -> float:
    from scipy.special import ndtr

    called = len(chance) - held_out
    if not held_out or not called:
        return 0.0
    less = chance * (1.0 - rate)
    error = np.sqrt(np.mean(chance * (1 - chance)) / held_out + np.mean(less * (1 - less)) / called)
    if error == 0:
        return 0.0
    limit, shift = normal_quantile(confidence), rate * float(chance.mean()) / error
    return float(ndtr(shift - limit) + ndtr(-shift - limit))


def power_sentence(power: Power) -> str:
    """Return what a campaign of a size can show, in a sentence without its final stop."""
    everyone = power.called + power.held_out
    if not power.held_out:
        return f"with {everyone:,} to call and none kept back, the effect of the calls cannot be measured"
    said = (
        f"with {everyone:,} to call and {power.share:.0%} of them kept back ({power.held_out:,}), a save rate of "
        f"{power.save_rate:.2f} is told from none with a power of {power.power:.0%}"
    )
    if power.least_save_rate is None:
        return f"{said}; no save rate is with {PLANNED:.0%}"
    return f"{said}, one of {power.least_save_rate:.2f} with {PLANNED:.0%}"


def too_small(power: Power, experiment: Experiment) -> str | None:
    """Return why the group that is kept back is too small, with a remedy; None if it is large enough."""
    if power.power >= experiment.least_power:
        return None
    remedy = (
        f"keep back {power.needed:.1%} (experiment.holdout) for {PLANNED:.0%}"
        if power.needed is not None
        else "no share up to 50% suffices for so few accounts: let a campaign run for longer (experiment.campaign), as its "
        "accounts add up"
    )
    return (
        f"too few accounts are kept back: {power_sentence(power)}, below experiment.least_power "
        f"({experiment.least_power:g}); {remedy}"
    )
