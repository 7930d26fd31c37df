"""Search for training parameters that suit a table, with Optuna (Akiba et al. 2019, doi:10.1145/3292500.3330701).

A trial grows the boosters of all folds with other parameters; its objective is the out-of-fold log loss. The first trial
has the best setting of `churn.training.portfolio`, which are the configured parameters with ``portfolio: quick``. It is
replaced only by a trial that is better by more than a standard error: the best of many trials looks good by chance alone.
"""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn.config import AccountSchema, FeatureEngineering, Training
from churn.model import Encoder
from churn.model.calibration import Calibration, log_loss
from churn.training.boosting import Grown, grow_folds, merge, with_directions
from churn.training.encoding import fit_encoder
from churn.training.feature_choice import choose_encoding, places
from churn.training.portfolio import CONFIGURED, choose_setting, settings_of
from churn.training.rows import TrainingRows

if TYPE_CHECKING:
    import optuna


# Number of trials before pruning: later trials whose first folds are worse than the median of earlier ones are pruned.
STARTUP_TRIALS = 5
# The best trial must be better than the first one by this many standard errors.
STANDARD_ERRORS = 1.0
# Largest value of min_category_count to search, as a share of the rows.
LARGEST_SHARE = 0.02
# A range whose ends have at least this ratio is searched on a logarithmic scale.
LOGARITHMIC = 8

# Parameters of XGBoost and the ranges in which they are searched.
RANGES: dict[str, tuple[float, float]] = {
    "learning_rate": (0.02, 0.2),
    "max_depth": (2, 8),
    "max_leaves": (3, 64),
    "min_child_weight": (0.5, 50.0),
    "reg_alpha": (0.0, 5.0),
    "reg_lambda": (0.1, 100.0),
    "subsample": (0.4, 1.0),
    "colsample_bytree": (0.3, 1.0),
}


class Trial(NamedTuple):
    """Result of one set of parameters.

    Attributes:
        number: Number of the trial, from 0; trial 0 is where the search begins.
        state: ``complete``, or ``pruned`` if it was stopped after some folds.
        parameters: Values by name: those of XGBoost, and ``min_category_count``.
        loss: Mean out-of-fold log loss; of a pruned trial, that of the folds so far.
        gain: Mean fall of the loss below that of trial 0; None if pruned.
        gain_error: Standard error of the gain over the rows; None if pruned.
        setting: Setting of the portfolio that has the parameters that are not searched.
    """

    number: int
    state: Literal["complete", "pruned"]
    parameters: dict[str, float]
    loss: float
    gain: float | None = None
    gain_error: float | None = None
    setting: str = CONFIGURED


class Tuned(NamedTuple):
    """Parameters to train with after a search.

    Attributes:
        training: Training parameters, updated with those of the chosen trial.
        features: Parameters of the encoding, updated likewise.
        trial: The chosen trial; None if those of the first one are kept.
    """

    training: Training
    features: FeatureEngineering
    trial: Trial | None


def search(
    accounts: pd.DataFrame,
    encoder: Encoder,
    folds: NDArray[np.int8],
    schema: AccountSchema,
    features: FeatureEngineering,
    training: Training,
) -> Iterator[Trial]:
    """Try sets of parameters one after the other, until the number of trials or the time is used up.

    Args:
        accounts: Canonical training rows with their label, shape (n, any).
        encoder: Encoder fitted on them as configured.
        folds: Their folds, shape (n,), from 0.
        schema: Schema of the table.
        features: Configured encoding; its ``min_category_count`` is the least value that is tried.
        training: Configured parameters, and the limits of the search.

    Yields:
        Each trial when it ends.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    labels = accounts[schema.label.column].to_numpy(np.int8)
    whole = _encoded(accounts, encoder, labels, folds)
    chosen = choose_encoding(whole, encoder, training)
    training, setting = _start(whole.only(places(encoder, chosen)), with_directions(training, chosen))
    # The median of few trials would prune by chance, so the first trials are complete.
    pruner = optuna.pruners.MedianPruner(n_startup_trials=STARTUP_TRIALS)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=training.tuning.random_state), pruner=pruner)
    space, configured = _space(training, features, len(accounts) if schema.categorical else 0)
    study.enqueue_trial(configured)
    losses_before: NDArray[np.float64] | None = None
    start = time.monotonic()
    for number in range(training.tuning.trials):
        if number and time.monotonic() - start >= training.tuning.seconds:
            return
        asked = study.ask(space)
        tried = _with(training, features, asked.params)
        narrower, parameters = chosen, tried.training
        if tried.features != features:
            narrower = fit_encoder(accounts, schema, tried.features).with_features_of(chosen.rated)
            narrower = replace(narrower, differences=chosen.differences)
            parameters = with_directions(parameters, narrower)
        rows = whole.only(places(encoder, narrower))
        grown = _grow(rows, parameters, asked)
        if len(grown) < rows.fold_count:
            study.tell(asked, state=optuna.trial.TrialState.PRUNED)
            yield Trial(number, "pruned", asked.params, _mean_of_folds(grown), setting=setting)
            continue
        losses = log_loss(Calibration(), merge(grown, rows).margin, labels)
        losses_before = losses if losses_before is None else losses_before
        gains = losses_before - losses
        study.tell(asked, float(losses.mean()))
        error = float(gains.std() / math.sqrt(len(gains)))
        yield Trial(number, "complete", asked.params, float(losses.mean()), float(gains.mean()), error, setting)


def _start(rows: TrainingRows, training: Training) -> tuple[Training, str]:
    """Return the best setting of the portfolio, and its name."""
    start, summary = choose_setting(rows, training)
    chosen = (name for name, each in summary.get("settings", {}).items() if each["weight"])
    return start, next(chosen, CONFIGURED)


def choose(trials: Sequence[Trial], training: Training, features: FeatureEngineering, shape: tuple[int, int]) -> Tuned:
    """Choose the best trial if it is better than the first one by more than `STANDARD_ERRORS`.

    Args:
        trials: Trials of `search`; empty if there was none.
        training: Configured parameters.
        features: Configured encoding.
        shape: Number of rows and of features of the encoded accounts that the search was given.
    """
    if not trials:
        return Tuned(training, features, None)
    best = best_trial(trials)
    training = settings_of(training, *shape)[best.setting]
    if best.gain is None or best.gain_error is None or best.gain <= STANDARD_ERRORS * best.gain_error:
        return Tuned(training, features, None)
    return _with(training, features, best.parameters)._replace(trial=best)


def summarise(trials: Sequence[Trial], tuned: Tuned) -> dict[str, Any]:
    """Summarise a search as plain JSON types.

    Returns:
        ``trials``, ``pruned``, ``chosen`` (the number of the trial, None if the first parameters are kept),
        ``parameters`` of the chosen trial, and ``gain`` and ``gain_error`` of the best one; empty without a search.
    """
    if not trials:
        return {}
    best = best_trial(trials)
    return {
        "trials": len(trials),
        "pruned": sum(trial.state == "pruned" for trial in trials),
        "chosen": tuned.trial.number if tuned.trial else None,
        "parameters": dict(tuned.trial.parameters) if tuned.trial else {},
        "gain": best.gain,
        "gain_error": best.gain_error,
    }


def in_words(summary: Mapping[str, Any]) -> str:
    """Return the summary of a search as one or two sentences without the last full stop."""
    tried = f"{summary['trials']} sets of parameters were tried, {summary['pruned']} of them given up early"
    gain = f"log loss lower by {summary['gain']:.5f} ± {summary['gain_error']:.5f} on rows that the trees had not seen"
    if summary["chosen"] is None:
        return f"{tried}. The first ones were kept: the best is not clearly better ({gain})"
    return f"{tried}. Number {summary['chosen']} was taken: {gain}"


def best_trial(trials: Sequence[Trial]) -> Trial:
    """Return the complete trial with the least loss; the first of equal ones. The first trial is never pruned."""
    return min((trial for trial in trials if trial.state == "complete"), key=lambda trial: trial.loss)


def _encoded(
    accounts: pd.DataFrame, encoder: Encoder, labels: NDArray[np.int8], folds: NDArray[np.int8]
) -> TrainingRows:
    """Encode rows; an encoding with fewer categories is a selection of their features."""
    return TrainingRows.of(encoder.transform(accounts), labels, folds, encoder.codes)


def _grow(rows: TrainingRows, training: Training, asked: "optuna.Trial") -> list[Grown]:
    """Grow the boosters of the folds in their order; stop if the trial is pruned."""
    grown: list[Grown] = []
    with closing(grow_folds(rows, training)) as growing:
        for each in growing:
            grown.append(each)
            asked.report(_mean_of_folds(grown), len(grown))
            if len(grown) < rows.fold_count and asked.should_prune():
                break
    return grown


def _mean_of_folds(grown: Sequence[Grown]) -> float:
    return float(np.mean([min(each.losses) for each in grown]))


def _space(
    training: Training, features: FeatureEngineering, rows: int
) -> tuple[dict[str, "optuna.distributions.BaseDistribution"], dict[str, float]]:
    """Return the search space, widened to include the configured values, and the configured values."""
    from optuna.distributions import FloatDistribution, IntDistribution

    ranges: dict[str, tuple[float, float]] = dict(RANGES)
    configured: dict[str, float] = {name: getattr(training.booster, name) for name in RANGES}
    least = features.min_category_count
    if (most := int(LARGEST_SHARE * rows)) > least:
        ranges["min_category_count"], configured["min_category_count"] = (least, most), least
    space: dict[str, optuna.distributions.BaseDistribution] = {}
    for name, (low, high) in ranges.items():
        low, high = min(low, configured[name]), max(high, configured[name])
        log = low > 0 and high / low >= LOGARITHMIC
        whole = isinstance(ranges[name][0], int)
        space[name] = IntDistribution(int(low), int(high), log) if whole else FloatDistribution(low, high, log)
    return space, configured


def _with(training: Training, features: FeatureEngineering, parameters: Mapping[str, float]) -> Tuned:
    """Return the configuration, updated with the parameters of a trial."""
    given = dict(parameters)
    count = int(given.pop("min_category_count", features.min_category_count))
    return Tuned(
        training.model_copy(update={"booster": training.booster.model_copy(update=given)}),
        features.model_copy(update={"min_category_count": count}),
        None,
    )
