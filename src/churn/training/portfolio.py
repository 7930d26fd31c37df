"""Trees as complex as the table needs: boosters with several settings, weighed on rows that they were not grown on.

Small trees suit small tables and smooth effects. Tables with many interactions need larger ones, and tables in which few
rows or columns decide need trees that see all of them. Which of these a table is, is not known beforehand. So each setting
of a portfolio grows a booster on the first fold; those that are clearly worse there stop, the others grow on all folds, and
their out-of-fold margins get non-negative weights (stacking: Wolpert 1992, doi:10.1016/S0893-6080(05)80023-1; Breiman 1996,
doi:10.1007/BF00117832). The weighted boosters are merged into one, which is stored, applied and explained like any other.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from churn.config import Training
from churn.model.calibration import Calibration, log_loss
from churn.model.trees import Booster, average, combine
from churn.tables.parallel import one_thread
from churn.training.boosting import ASKED_EACH, FittedTrees, GiveUp, Grown, cut, fit_booster, grow_each, watched_rows
from churn.training.rows import TrainingRows

# The configured parameters are the first setting; the others replace some of them. Found on two dozen public tables.
CONFIGURED = "configured"
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "medium": {"max_depth": 6, "learning_rate": 0.07, "min_child_weight": 1.0, "reg_lambda": 3.0, "subsample": 0.8}
    | {"colsample_bytree": 0.7},
    "whole": {"max_depth": 6, "learning_rate": 0.1, "min_child_weight": 1.0, "reg_lambda": 1.0, "subsample": 1.0}
    | {"colsample_bytree": 1.0},
    "deep": {"max_depth": 7, "learning_rate": 0.15, "min_child_weight": 0.5, "reg_lambda": 0.5, "subsample": 0.9}
    | {"colsample_bytree": 0.8},
}
# Settings with large steps, which need few trees.
SOON = ("whole", "deep")
OF_ALL: Mapping[str, Any] = {"grow_policy": "depthwise", "max_leaves": 0, "max_bin": 256}
# A level takes features times bins times nodes, however few the rows are: a bin has at least so many rows, and with more
# features than these there are fewer bins.
BIN_ROWS = 16
WIDE, BINS_IF_WIDE = 100, 64
# The fall of the log loss that is still to come is taken to be so many times what a geometric series would give.
CAUTION = 3.0
# A setting stops after the first fold if its loss there is above the least by more than so many standard errors.
STANDARD_ERRORS = 1.0
# Smaller weights are left out: their trees take as long to apply as those of any other.
LEAST_WEIGHT = 0.05


class Portfolio(NamedTuple):
    """The merged booster of a portfolio.

    Attributes:
        trees: The booster and its out-of-fold margins.
        summary: ``settings``, for each its ``loss``, the mean out-of-fold log loss before calibration (of those that
            stopped: as far above that of the best one as on the first fold), and its ``weight``, 0 if it is left out; empty
            if there is one setting only.
    """

    trees: FittedTrees
    summary: dict[str, Any]


def settings_of(training: Training, rows: int, features: int) -> dict[str, Training]:
    """Return the parameters of each setting for a table with so many training rows and features, the configured ones first."""
    found = {CONFIGURED: training}
    most = BINS_IF_WIDE if features > WIDE else OF_ALL["max_bin"]
    bins = {"max_bin": min(most, max(BINS_IF_WIDE, rows // BIN_ROWS))}
    if training.portfolio == "full":
        for name, values in SETTINGS.items():
            booster = training.booster.model_copy(update={**OF_ALL, **values, **bins})
            # With larger steps it shows sooner that more trees do not help.
            steps = min(1.0, training.booster.learning_rate / booster.learning_rate)
            patience = math.ceil(training.early_stopping_rounds * math.sqrt(steps))
            found[name] = training.model_copy(update={"booster": booster, "early_stopping_rounds": patience})
    return found


def fit_portfolio(rows: TrainingRows, linear_margin: NDArray[np.floating], training: Training) -> Portfolio:
    """Grow boosters with the settings of the portfolio and merge them, weighted.

    Args:
        rows: Encoded training rows.
        linear_margin: Out-of-fold log-odds by the linear part, shape (n,): trees are weighed beside it.
        training: Parameters; ``portfolio: quick`` grows the configured booster alone.
    """
    if training.portfolio == "quick":
        return Portfolio(fit_booster(rows, training), {})
    fitted, stopped = _grown(rows, training)
    beside = [] if training.linear_weight == 0 else [linear_margin]
    weights = weigh([setting.margin for setting in fitted.values()], beside, rows.labels)
    given = {name: weight for name, weight in zip(fitted, weights, strict=True) if weight}
    margin = np.zeros(len(rows))
    for name, weight in given.items():
        margin += weight * fitted[name].margin
    if len(given) == 1:
        booster = average(fitted[next(iter(given))].boosters)
    else:
        # Each booster of a setting has an equal part of its weight.
        parts = [
            (part, weight / len(fitted[name].boosters))
            for name, weight in given.items()
            for part in fitted[name].boosters
        ]
        booster = combine(*zip(*parts, strict=True))
    losses = stopped.beside({name: _losses(each.margin, rows.labels) for name, each in fitted.items()})
    summary = {
        name: {"loss": losses[name], "weight": given.get(name, 0.0)}
        for name in settings_of(training, *rows.features.shape)
    }
    return Portfolio(FittedTrees(booster, margin.astype(np.float32)), {"settings": summary})


def choose_setting(rows: TrainingRows, training: Training) -> tuple[Training, dict[str, Any]]:
    """Choose one setting on a sample of a long table, whose booster is then grown on all rows.

    The configured one is kept unless another is better by more than `STANDARD_ERRORS`.

    Returns:
        Its parameters, and the summary as in `Portfolio`, with the ``rows`` of the sample.
    """
    if training.portfolio == "quick":
        return training, {}
    settings = settings_of(training, *rows.features.shape)
    fitted, stopped = _grown(rows, training)
    losses = {name: _losses(each.margin, rows.labels) for name, each in fitted.items()}
    best = min(losses, key=lambda name: float(losses[name].mean()))
    if CONFIGURED in losses and not is_worse(losses[CONFIGURED], losses[best]):
        best = CONFIGURED
    means = stopped.beside(losses)
    summary = {name: {"loss": means[name], "weight": float(name == best)} for name in settings}
    return settings[best], {"settings": summary, "rows": len(rows)}


@one_thread()
def weigh(
    margins: Sequence[NDArray[np.floating]], beside: Sequence[NDArray[np.floating]], labels: NDArray[np.int8]
) -> list[float]:
    """Return non-negative weights of margins, which add up to 1, with the least log loss of their sum.

    Args:
        margins: Out-of-fold log-odds, each of shape (n,).
        beside: Other log-odds that are in the sum too, with weights of their own.
        labels: Outcomes, shape (n,), 0 or 1.
    """
    from scipy.optimize import minimize

    columns = np.column_stack([*margins, *beside, np.ones(len(labels))]).astype(np.float64)
    count = columns.shape[1]

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        z = columns @ weights
        value = float(np.mean(np.logaddexp(0.0, z) - labels * z))
        return value, columns.T @ (1 / (1 + np.exp(-z)) - labels) / len(labels)

    start = np.append(np.full(count - 1, 1 / (count - 1)), 0.0)
    bounds = [(0, None)] * (count - 1) + [(None, None)]
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x[: len(margins)]
    if not found.sum() > 0:
        return [1.0, *[0.0] * (len(margins) - 1)]
    shares = found / found.sum()
    shares[shares < LEAST_WEIGHT] = 0.0
    return [float(weight) for weight in shares / shares.sum()]


def in_words(summary: Mapping[str, Any]) -> str:
    """Return a summary as a sentence without the full stop."""
    settings = summary["settings"]
    parts = [f"{name} {settings[name]['weight']:.0%}" for name in settings if settings[name]["weight"]]
    losses = ", ".join(f"{name} {each['loss']:.4f}" for name, each in settings.items())
    where = f" on {summary['rows']:,} of the rows" if "rows" in summary else ""
    return f"Settings of the trees by out-of-fold log loss{where}: {', '.join(parts)} (log loss: {losses})"


class _Setting(NamedTuple):
    """The boosters of a setting, one of each fold, and their out-of-fold margins."""

    boosters: list[Booster]
    margin: NDArray[np.float32]


class _Stopped(NamedTuple):
    """Settings that stopped after the first fold.

    Attributes:
        best: The setting with the least mean loss there, which did not stop.
        excess: For each that stopped its mean loss there, minus that of the best.
    """

    best: str
    excess: dict[str, float]

    def beside(self, losses: Mapping[str, NDArray[np.float64]]) -> dict[str, float]:
        """Return mean losses of all settings, given the losses of all rows of those that did not stop."""
        means = {name: float(each.mean()) for name, each in losses.items()}
        return means | {name: means[self.best] + excess for name, excess in self.excess.items()}


def _grown(rows: TrainingRows, training: Training) -> tuple[dict[str, _Setting], _Stopped]:
    """Grow the boosters; return those that did not stop after the first fold, and what is known of those that did."""
    settings = settings_of(training, *rows.features.shape)
    held_out, labels = rows.held_out(0), rows.labels[rows.folds == 0]
    # Those that need few trees come first; the others give up where they cannot come near the best of these.
    first: dict[str, Grown] = {}
    losses: dict[str, NDArray[np.float64]] = {}
    for names in (SOON, [name for name in settings if name not in SOON]):
        some = [name for name in settings if name in names]
        give_up = None
        if losses:
            watched = watched_rows(len(labels))
            give_up = _hopeless(min(losses.values(), key=np.mean)[watched], labels[watched])
        for name, grown in zip(some, grow_each(rows, [(settings[name], 0) for name in some], give_up), strict=True):
            first[name], losses[name] = grown, first_losses(grown, held_out, labels)
    best = min(losses, key=lambda name: float(losses[name].mean()))
    kept = [name for name in settings if not is_worse(losses[name], losses[best])]
    others = range(1, rows.fold_count)
    rest = iter(grow_each(rows, [(settings[name], fold) for name in kept for fold in others]))
    fitted = {name: _Setting(*cut([first[name], *(next(rest) for _ in others)], rows)) for name in kept}
    excess = {name: float((losses[name] - losses[best]).mean()) for name in settings if name not in kept}
    return fitted, _Stopped(best, excess)


def _hopeless(best: NDArray[np.float64], labels: NDArray[np.int8]) -> GiveUp:
    """Return whether a booster will stay clearly worse than the best one, whose losses of the held-out rows are given."""

    def give_up(margin: NDArray[np.float32], losses: Sequence[float]) -> bool:
        if len(losses) <= 2 * ASKED_EACH:
            return False
        middle = losses[-1 - ASKED_EACH]
        now, before = middle - losses[-1], losses[-1 - 2 * ASKED_EACH] - middle
        if now >= before:
            return False
        to_come = CAUTION * max(now, 0.0) ** 2 / (before - now)
        return is_worse(_losses(margin, labels) - to_come, best)

    return give_up


def first_losses(grown: Grown, features: NDArray[np.float32], labels: NDArray[np.int8]) -> NDArray[np.float64]:
    """Return the log loss of each held-out row, shape (n,), by the trees until the loss was least."""
    rounds = int(np.argmin(grown.losses)) + 1
    return _losses(grown.booster[:rounds].inplace_predict(features, predict_type="margin"), labels)


def _losses(margin: NDArray[np.floating], labels: NDArray[np.int8]) -> NDArray[np.float64]:
    return log_loss(Calibration(), margin, labels)


def is_worse(losses: NDArray[np.float64], others: NDArray[np.float64]) -> bool:
    """Return whether losses are above others of the same rows, shape (n,), by more than `STANDARD_ERRORS`."""
    more = losses - others
    return bool(more.mean() > STANDARD_ERRORS * more.std() / math.sqrt(len(more)))
