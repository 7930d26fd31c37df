"""Compare challenger and champion: the gain in a metric, and the bounds that it has with a given confidence."""

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn.config import Profit, Promotion
from churn.errors import ChurnError
from churn.metrics import Ranking
from churn.metrics.bootstrap import bootstrap_weights
from churn.metrics.ranking import roc_auc_standard_error, weighted_roc_auc
from churn.retention import expected_profit
from churn.retention.profit import realised_profit
from churn.training.challenge import Challenge

# A function that computes a metric of the same rows under many weightings: weights of shape (k, n), result of shape (k,).
Measured = Callable[[NDArray[np.float64]], NDArray[np.float64]]
# A probability of exactly 0 or 1 that proves wrong counts as this close to it in the log loss.
LEAST = 1e-6


class Metric(NamedTuple):
    """A metric by which models are compared; more is better.

    Attributes:
        name: Name in sentences.
        unit: Format of its values.
        of: Returns the metric of probabilities, shape (n,), as a function of many weightings of the rows.
    """

    name: str
    unit: str
    of: Callable[[NDArray[Any]], Measured]


class Gain(NamedTuple):
    """A gain of the challenger over the champion.

    Attributes:
        challenger: Metric of the challenger.
        champion: Metric of the champion.
        low: Gain that the challenger has at least, with the confidence of a one-sided bound.
        high: Gain that it has at most, likewise.
    """

    challenger: float
    champion: float
    low: float
    high: float

    @property
    def value(self) -> float:
        """The gain as measured."""
        return self.challenger - self.champion


def metric_of(challenge: Challenge, promotion: Promotion, profit: Profit | None) -> Metric:
    """Return the configured metric.

    Raises:
        ChurnError: The metric is ``expected_profit``, and there is no ``profit``.
    """
    labels = np.asarray(challenge.labels)
    if promotion.metric == "roc_auc":
        return Metric("ROC AUC", "z.4f", lambda scores: weighted_roc_auc(labels, scores))
    if profit is None:
        raise ChurnError(
            "promotion.metric = 'expected_profit' needs the parameters of profit; set them, or use 'roc_auc'"
        )
    worth = np.full(len(labels), profit.account_value) if challenge.value is None else np.asarray(challenge.value)
    worth = np.where(pd.isna(worth), profit.account_value, worth).astype(np.float64)

    def profit_per_account(scores: NDArray[Any]) -> Measured:
        acted = expected_profit(scores, worth, profit) > 0
        return _mean_of(realised_profit(labels, acted, worth, profit))

    return Metric("expected profit per account", "z.3f", profit_per_account)


def log_loss_gain(challenge: Challenge, confidence: float) -> Gain:
    """Compare the log loss of both models on the same rows, as its negative: more is better.

    It rises where probabilities are wrong, also if the ranking is right. The gain is a mean over the rows, so its bounds are
    those of the normal distribution.

    Args:
        challenge: Predictions of both models.
        confidence: Confidence of each of the two bounds.
    """
    if challenge.champion is None:
        raise ValueError("there is no champion to compare with")
    labels = np.asarray(challenge.labels).astype(bool)

    def likelihoods(scores: NDArray[Any]) -> NDArray[np.float64]:
        given = np.clip(np.asarray(scores, dtype=np.float64), LEAST, 1 - LEAST)
        return np.log(np.where(labels, given, 1 - given))

    mine, theirs = likelihoods(challenge.challenger), likelihoods(challenge.champion)
    gain = mine - theirs
    span = NormalDist().inv_cdf(confidence) * float(gain.std() / np.sqrt(len(gain)))
    return Gain(float(mine.mean()), float(theirs.mean()), float(gain.mean()) - span, float(gain.mean()) + span)


def _mean_of(values: NDArray[np.float64]) -> Measured:
    return lambda weights: np.asarray(weights @ values / weights.sum(axis=1), dtype=np.float64)


def value_of(metric: Metric, scores: NDArray[Any]) -> float:
    """Return a metric of all rows, each with the same weight; nan if it is undefined."""
    return float(metric.of(scores)(np.ones((1, len(scores))))[0])


def gain_of(challenge: Challenge, metric: Metric, confidence: float, promotion: Promotion) -> Gain:
    """Compare both models on the same rows, by a paired bootstrap (Efron and Tibshirani 1993, chapter 16).

    Args:
        challenge: Predictions of both models.
        metric: The metric.
        confidence: Confidence of each of the two bounds.
        promotion: Number of bootstrap samples and their seed.
    """
    if challenge.champion is None:
        raise ValueError("there is no champion to compare with")
    mine, theirs = metric.of(challenge.challenger), metric.of(challenge.champion)
    whole = np.ones((1, len(challenge.labels)))
    blocks = bootstrap_weights(len(challenge.labels), promotion.bootstrap_samples, promotion.random_state)
    gains = np.concatenate([mine(weights) - theirs(weights) for weights in blocks])
    gains = np.sort(gains[np.isfinite(gains)])
    # The bound is a gain that was drawn, such that a share of `confidence` of the draws is at or beyond it.
    beyond = math.floor((1 - confidence) * len(gains) + 1e-9)
    low, high = (float(gains[beyond]), float(gains[-1 - beyond])) if len(gains) else (math.nan, math.nan)
    return Gain(float(mine(whole)[0]), float(theirs(whole)[0]), low, high)


def gain_over_record(challenge: Challenge, confidence: float) -> Gain | None:
    """Compare the challenger's ROC AUC on its test rows with that of the champion at its own training, on other rows.

    Args:
        challenge: Predictions of the challenger, and the metrics of the champion at its training.
        confidence: Confidence of each of the two bounds.

    Returns:
        The gain; None if the champion's ROC AUC is not known, or the challenger's is undefined.
    """
    record, labels = challenge.champion_performance, np.asarray(challenge.labels)
    ranking = Ranking.of(labels, challenge.challenger)
    area, then = ranking.roc_auc(), record.get("roc_auc", math.nan)
    # Models that were stored without a standard error count as measured on as many rows as the challenger.
    churned, stayed = float(labels.sum()), float((labels == 0).sum())
    if not math.isfinite(then) or min(churned, stayed) < 2:
        return None
    doubt_then = record.get("roc_auc_standard_error", roc_auc_standard_error(then, churned, stayed))
    doubts = ranking.roc_auc_standard_error(), doubt_then
    span = NormalDist().inv_cdf(confidence) * math.hypot(*doubts)
    return Gain(area, then, area - then - span, area - then + span)
