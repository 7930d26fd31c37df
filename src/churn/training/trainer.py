"""Training: from canonical labelled rows to a model. The pipeline, cross-validation and tuning all train by it."""

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn.config import AccountSchema, FeatureEngineering, Training
from churn.metrics import classification_metrics
from churn.model import ChurnModel, Encoder
from churn.model.linear import Linear
from churn.model.profile import fit_profile, fit_score_profile
from churn.model.trees import Booster, scaled
from churn.tables import spacing
from churn.tables.parallel import one_thread
from churn.training.boosting import FittedTrees, assign_folds, fit_booster
from churn.training.calibration import fit_calibration
from churn.training.encoding import fit_encoder
from churn.training.linear import FittedLinear, fit_linear, learn_weight
from churn.training.tuning import choose, search

# Contributions cost far more than scores; this many rows settle their mean.
IMPORTANCE_ROWS = 500


def train_model(
    accounts: pd.DataFrame,
    schema: AccountSchema,
    features: FeatureEngineering,
    training: Training,
    encoder: Encoder | None = None,
) -> ChurnModel:
    """Train a model.

    Args:
        accounts: Canonical training rows with their label, and only those.
        schema: What each column is.
        features: Ratios and how many rows a category needs; not read where there is an encoder.
        training: Parameters of the booster, its folds, the search for better ones and the calibration.
        encoder: An encoder fitted on these rows; none to fit one.

    Raises:
        AccountsError: If a class has fewer than two rows.
    """
    fitted = fit_encoder(accounts, schema, features) if encoder is None else encoder
    labels = accounts[schema.label.column].to_numpy(np.int8)
    folds = assign_folds(labels, training)
    if training.tuning.enabled:
        trials = list(search(accounts, fitted, folds, schema, features, training))
        training, tuned_features, _ = choose(trials, training, features)
        fitted = fitted if tuned_features == features else fit_encoder(accounts, schema, tuned_features)
    matrix = fitted.transform(accounts)
    trees = fit_booster(matrix, labels, folds, training)
    line = fit_linear(matrix, labels, folds)
    return assemble_model(trees, line, folds, labels, fitted, accounts, schema, training)


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
    trees: FittedTrees,
    line: FittedLinear,
    folds: NDArray[np.int8],
    labels: NDArray[np.int8],
    encoder: Encoder,
    accounts: pd.DataFrame,
    schema: AccountSchema,
    training: Training,
) -> ChurnModel:
    """Blend trees and line, calibrate them and put together what is deployed.

    Args:
        trees: The booster and the margins of training rows by boosters not grown on them.
        line: The line and the margins of the same rows by lines not fitted on them.
        folds: Fold of each of these rows, shape (n,).
        labels: Their outcomes, shape (n,).
        encoder: Encoder fitted on the training rows.
        accounts: Canonical training rows, all or enough of them to know what is typical.
        schema: What each column is.
        training: How to calibrate, threshold and risk bands.
    """
    parts = blend(trees, line, labels, training)
    probability = unseen_probability(parts.margin, labels, folds, training)
    profile = fit_profile(accounts, schema.numeric_names, schema.categorical)
    model = ChurnModel(
        schema=schema,
        encoder=encoder,
        booster=parts.booster,
        linear=parts.linear,
        threshold=training.threshold,
        risk_bands=training.risk_bands,
        reference=profile.with_score(fit_score_profile(probability)),
        performance=classification_metrics(labels, probability, training.threshold),
        calibration=fit_calibration(parts.margin, labels, training.calibration),
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
