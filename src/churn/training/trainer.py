"""Training: from canonical labelled rows to a model. The pipeline, cross-validation and tuning all train by it."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn.config import AccountSchema, FeatureEngineering, Training
from churn.metrics import classification_metrics
from churn.model import ChurnModel, Encoder
from churn.model.encoder import encode_rows
from churn.model.linear import Linear
from churn.model.profile import fit_profile, fit_score_profile
from churn.model.trees import Booster, scaled
from churn.model.xgboost_trees import XGBoostTrees
from churn.tables import FrameTable, Table, spacing
from churn.tables.parallel import one_thread
from churn.training import tuning
from churn.training.boosting import FittedTrees, assign_folds, fit_booster, fit_booster_of
from churn.training.calibration import fit_calibration
from churn.training.encoding import fit_encoder
from churn.training.linear import FittedLinear, fit_linear, learn_weight

# Contributions cost far more than scores; this many rows settle their mean.
IMPORTANCE_ROWS = 500
# From so many rows on the folds are trained on one after the other, with the rows in files; with fewer, in memory at once.
SHARED_ROWS = 1_000_000


def train_model(
    accounts: pd.DataFrame,
    schema: AccountSchema,
    features: FeatureEngineering,
    training: Training,
    encoder: Encoder | None = None,
) -> ChurnModel:
    """Train a model, by the same steps as the pipeline.

    Args:
        accounts: Canonical training rows with their label, and only those.
        schema: What each column is.
        features: Ratios and how many rows a category needs; not read where there is an encoder.
        training: Parameters of the booster, its folds, the search for better ones and the calibration.
        encoder: An encoder fitted on these rows; none to fit one.

    Raises:
        AccountsError: If a class has fewer than two rows.
    """
    encoder = encoder or fit_encoder(accounts, schema, features)
    folds = fold_rows(accounts[schema.label.column].to_numpy(np.int8), training)
    if training.tuning.enabled:
        trials = list(tuning.search(accounts, encoder, folds["fold"].to_numpy(), schema, features, training))
        training, encoder, _ = choose_parameters(trials, accounts, encoder, schema, features, training)
    encoded = encode_rows(FrameTable(accounts), encoder, [schema.label.column])
    parts = fit_parts(encoded, folds, encoder, schema, training)
    return assemble_model(parts, encoder, accounts, schema, training)


def fold_rows(labels: NDArray[np.int8], training: Training) -> pd.DataFrame:
    """The fold that holds each training row out.

    Returns:
        ``outcome`` of each row, 0 or 1, and ``fold`` from 0, stratified by outcome and seeded; n rows.
    """
    return pd.DataFrame({"outcome": labels, "fold": assign_folds(labels, training)})


class Chosen(NamedTuple):
    """What training goes on with after a search; ``summary`` is empty where there was none."""

    training: Training
    encoder: Encoder
    summary: dict[str, Any]


def choose_parameters(
    trials: Sequence[tuning.Trial],
    accounts: pd.DataFrame,
    encoder: Encoder,
    schema: AccountSchema,
    features: FeatureEngineering,
    training: Training,
) -> Chosen:
    """Take the best trial where it is clearly better than what is configured.

    Args:
        trials: What was tried, see `churn.training.tuning.search`; none where nothing was.
        accounts: Canonical training rows, of a long table some of them.
        encoder: Encoder fitted on all training rows, as configured.
        schema: What each column is.
        features: How they are encoded.
        training: What is configured.
    """
    chosen = tuning.choose(trials, training, features)
    if chosen.features != features:
        narrower = fit_encoder(accounts, schema, chosen.features)
        # Of a long table these may be some of the rows; the medians are those of all.
        encoder = replace(narrower, medians={name: encoder.medians[name] for name in narrower.medians})
    return Chosen(chosen.training, encoder, tuning.summarise(trials, chosen))


class Parts(NamedTuple):
    """The two parts of a model, and what they say of training rows they were not fitted on.

    Attributes:
        booster: The average of the boosters of all folds.
        linear: The average of the logistic regressions of all folds.
        margins: ``outcome`` and ``fold`` of these rows, and ``trees`` and ``linear``, the log-odds of each by the booster
            and by the logistic regression that were not fitted on it.
    """

    booster: Booster
    linear: Linear
    margins: pd.DataFrame


def fit_parts(
    features: Table, folds: pd.DataFrame, encoder: Encoder, schema: AccountSchema, training: Training
) -> Parts:
    """Fit a booster and a logistic regression for each fold, and average each kind.

    A long table is not held in memory; the margins are then those of evenly spaced rows.

    Args:
        features: Encoded training rows with their label, n rows.
        folds: What `fold_rows` gave for them.
        encoder: What they were encoded by.
        schema: What each column is.
        training: How to fit.
    """
    names, label = encoder.feature_names, schema.label.column
    fold_of = folds["fold"].to_numpy()
    if len(features) < SHARED_ROWS and not features.is_distributed:
        some, known = features.frame([*names, label]), folds
        matrix, labels = some[names].to_numpy(np.float32), some[label].to_numpy(np.int8)
        trees = fit_booster(matrix, labels, fold_of, training)
    else:
        # Early stopping, the linear part, calibration and metrics need no more rows than these.
        some = features.frame([*names, label], most_rows=training.evaluation.rows)
        known = folds.iloc[:: spacing(len(folds), training.evaluation.rows)]
        matrix, labels = some[names].to_numpy(np.float32), some[label].to_numpy(np.int8)
        watched = some.assign(fold=known["fold"].to_numpy())
        trees = fit_booster_of(features, names, label, fold_of, watched, training)
    line = fit_linear(matrix, labels, known["fold"].to_numpy())
    return Parts(trees.booster, line.linear, known.assign(trees=trees.margin, linear=line.margin))


class Blend(NamedTuple):
    """Trees and a line that add up to one margin.

    Attributes:
        booster: The trees, their leaves weighted.
        linear: The line, weighted; none where it does not count.
        margin: Log-odds of each training row by parts that were not fitted on it, shape (n,).
    """

    booster: Booster
    linear: Linear | None
    margin: NDArray[np.float32]


def blend(trees: FittedTrees, line: FittedLinear, labels: NDArray[np.int8], training: Training) -> Blend:
    """Weigh trees and line: as configured, or as unseen rows say."""
    weight = training.linear_weight
    if weight is None:
        weight = learn_weight(trees.margin, line.margin, labels)
    if weight == 0:
        return Blend(trees.booster, None, trees.margin)
    rate = float(labels.mean())
    margin = ((1 - weight) * trees.margin + weight * line.margin).astype(np.float32)
    return Blend(scaled(trees.booster, 1 - weight), line.linear.weighted(weight, math.log(rate / (1 - rate))), margin)


@one_thread()
def assemble_model(
    parts: Parts, encoder: Encoder, accounts: pd.DataFrame, schema: AccountSchema, training: Training
) -> ChurnModel:
    """Blend trees and logistic regression, calibrate them and put together what is deployed.

    Args:
        parts: What `fit_parts` gave.
        encoder: Encoder fitted on the training rows.
        accounts: Canonical training rows, all or enough of them to know what is typical.
        schema: What each column is.
        training: How to calibrate, threshold and risk bands.
    """
    labels, folds = parts.margins["outcome"].to_numpy(), parts.margins["fold"].to_numpy()
    blended = blend(
        FittedTrees(parts.booster, parts.margins["trees"].to_numpy()),
        FittedLinear(parts.linear, parts.margins["linear"].to_numpy()),
        labels,
        training,
    )
    probability = unseen_probability(blended.margin, labels, folds, training)
    profile = fit_profile(accounts, schema.numeric_names, schema.categorical)
    model = ChurnModel(
        schema=schema,
        encoder=encoder,
        trees=XGBoostTrees(blended.booster),
        linear=blended.linear,
        threshold=training.threshold,
        risk_bands=training.risk_bands,
        reference=profile.with_score(fit_score_profile(probability)),
        performance=classification_metrics(labels, probability, training.threshold),
        calibration=fit_calibration(blended.margin, labels, training.calibration),
    )
    # Evenly spaced rows: a table may be sorted.
    few = accounts.iloc[:: spacing(len(accounts), IMPORTANCE_ROWS)]
    return replace(model, importance=model.mean_contributions(encoder.transform(few)))


def unseen_probability(
    margin: NDArray[np.float32], labels: NDArray[np.int8], folds: NDArray[np.int8], training: Training
) -> NDArray[np.float32]:
    """Probability of each training row, shape (n,), by a booster and a calibration that were not fitted on it.

    Calibrated on the very rows it is measured on, a model would look better calibrated than it is.
    """
    probability = np.empty(len(labels), dtype=np.float32)
    for fold in range(int(folds.max()) + 1):
        held_out = folds == fold
        calibration = fit_calibration(margin[~held_out], labels[~held_out], training.calibration)
        probability[held_out] = calibration.apply(margin[held_out])
    return probability
