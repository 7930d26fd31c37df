"""Plots of a model's performance. Each function returns a figure and has no side effects."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from churn.config import Decision, Profit, at_costs
from churn.metrics import Ranking, calibration_curve
from churn.metrics.ranking import lift
from churn.reporting.pages import amount
from churn.retention.profit import choose, profit_curve, profit_policies
from churn.tables import humanize

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Figure
else:
    # Kedro evaluates the annotations of nodes at its start, before matplotlib is needed.
    Figure = Any


MODEL_COLOUR, CHANCE_COLOUR = "#1f5fa8", "#8a8f98"
MAX_BARS = 20


def roc_and_precision_recall(labels: ArrayLike, probability: ArrayLike) -> Figure:
    """Plot the ROC and the precision-recall curve side by side, each with its area and the chance level."""
    from sklearn import metrics

    truth = np.asarray(labels)
    figure = _figure(columns=2)
    roc, pr = figure.subplots(1, 2)
    false_positive, true_positive, _ = metrics.roc_curve(truth, probability)
    area = Ranking.of(truth, probability).roc_auc()
    roc.plot(false_positive, true_positive, color=MODEL_COLOUR, label=f"model, area {area:.3f}")
    roc.plot([0, 1], [0, 1], color=CHANCE_COLOUR, linestyle="--", label="chance, area 0.500")
    _finish(roc, "ROC curve", "share of stayers flagged", "share of churners found")

    precision, recall, _ = metrics.precision_recall_curve(truth, probability)
    area = metrics.average_precision_score(truth, probability)
    pr.plot(recall, precision, color=MODEL_COLOUR, label=f"model, average precision {area:.3f}")
    pr.axhline(truth.mean(), color=CHANCE_COLOUR, linestyle="--", label=f"chance, {truth.mean():.3f}")
    _finish(pr, "Precision and recall", "share of churners found (recall)", "churners among the flagged (precision)")
    return figure


def calibration(labels: ArrayLike, probability: ArrayLike) -> Figure:
    """Plot observed against predicted churn rate in ten bins of equal mass."""
    curve = calibration_curve(labels, probability)
    figure = _figure()
    axes = figure.subplots()
    axes.plot(curve.predicted, curve.observed, "o-", color=MODEL_COLOUR, label="model, ten bins of equal mass")
    end = 1.05 * float(max(curve.predicted.max(), curve.observed.max()))
    axes.plot([0, end], [0, end], color=CHANCE_COLOUR, linestyle="--", label="perfect")
    _finish(axes, "Calibration", "predicted churn rate", "observed churn rate")
    return figure


def cumulative_gain(labels: ArrayLike, probability: ArrayLike) -> Figure:
    """Plot lift and the share of churners found against the share contacted, highest scores first."""
    shares = np.linspace(0.01, 1.0, 100)
    lifts = np.array([lift(labels, probability, share) for share in shares])
    figure = _figure(columns=2)
    left, right = figure.subplots(1, 2)
    left.plot(100 * shares, lifts, color=MODEL_COLOUR, label=f"model, {lifts[9]:.2f} in the top tenth")
    left.axhline(1, color=CHANCE_COLOUR, linestyle="--", label="chance")
    _finish(left, "Lift", "accounts contacted, highest scores first, %", "churn rate over average")
    right.plot(100 * shares, 100 * shares * lifts, color=MODEL_COLOUR, label="model")
    right.plot([0, 100], [0, 100], color=CHANCE_COLOUR, linestyle="--", label="chance")
    _finish(right, "Churners found", "accounts contacted, highest scores first, %", "churners found, %")
    return figure


def profit_of_acting(
    labels: ArrayLike, probability: ArrayLike, value: ArrayLike, profit: Profit, threshold: float
) -> Figure:
    """Plot profit per account against the share contacted, highest expected profit first, with the decision rules.

    The title says if amounts are examples. The threshold depends on the probability only, so its point can be off the curve
    if accounts differ in value.
    """
    curve = profit_curve(labels, probability, value, profit)
    made = profit_policies(labels, probability, value, profit, threshold)
    expected = float(choose(probability, value, profit, Decision(rule="profit"), threshold).mean())
    flagged = float(choose(probability, value, profit, Decision(rule="threshold"), threshold).mean())
    figure = _figure()
    axes = figure.subplots()
    axes.plot(100 * curve.share_contacted, curve.profit, color=MODEL_COLOUR)
    everyone = made["profit_all"]
    label = f"at random, all: {amount(everyone, profit.currency, 2)}"
    axes.plot([0, 100], [0, everyone], color=CHANCE_COLOUR, linestyle="--", label=label)
    for name, share, gain, colour in (
        ("best in hindsight", curve.best_share, curve.max, "#b07a10"),
        ("expected profit above 0", expected, made["expected_profit"], "#2a7f4f"),
        (f"probability from {threshold:g} on", flagged, made["profit_threshold"], "#a33a3a"),
    ):
        label = f"{name}: {amount(gain, profit.currency, 2)}, {100 * share:.1f} % contacted"
        axes.plot([100 * share] * 2, [0, gain], color=colour, marker="o", markevery=[1], label=label)
    unit = f"profit per account, {profit.currency}" if profit.currency else "profit per account"
    title = f"Profit of acting {at_costs(profit.examples)}".rstrip()
    _finish(axes, title, "accounts contacted, highest expected profit first, %", unit)
    return figure


def importance(values: Mapping[str, float]) -> Figure:
    """Plot the mean absolute contribution of each column, largest first."""
    largest = sorted(values.items(), key=lambda item: item[1])[-MAX_BARS:]
    figure = _figure(height=1.2 + 0.3 * len(largest))
    axes = figure.subplots()
    axes.barh([humanize(name) for name, _ in largest], [value for _, value in largest], color=MODEL_COLOUR)
    axes.set_title("What moves the scores", loc="left", fontweight="bold")
    axes.set_xlabel("mean absolute contribution to the raw score, log-odds")
    axes.grid(axis="x", alpha=0.3)
    return figure


def _figure(columns: int = 1, height: float = 4.5) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(6.0 * columns, height), layout="constrained", dpi=110)


def _finish(axes: "Axes", title: str, x_label: str, y_label: str) -> None:
    axes.set_title(title, loc="left", fontweight="bold")
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
