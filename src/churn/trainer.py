"""Training: from canonical labelled rows to a model. The pipeline, cross-validation and tuning all train by it."""

import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn.boosting import Booster, Fitted, assign_folds, fit_booster
from churn.calibration import fit_calibration
from churn.drift import fit_profile, fit_score_profile
from churn.encoding import Encoder, fit_encoder
from churn.metrics import classification_metrics
from churn.model import BASELINE, ChurnModel, contributions
from churn.parameters import Accounts, FeatureEngineering, Training

# Contributions cost far more than scores; this many rows settle their mean.
IMPORTANCE_ROWS = 500


def train_model(
    accounts: pd.DataFrame,
    roles: Accounts,
    features: FeatureEngineering,
    training: Training,
    encoder: Encoder | None = None,
) -> ChurnModel:
    """Train a model.

    Args:
        accounts: Canonical training rows with their label, and only those.
        roles: What each column is.
        features: Ratios and how many rows a category needs; not read where there is an encoder.
        training: Parameters of the booster, its folds and the calibration.
        encoder: An encoder fitted on these rows; none to fit one.

    Raises:
        AccountsError: If a class has fewer than two rows.
    """
    fitted = fit_encoder(accounts, roles, features) if encoder is None else encoder
    matrix, labels = fitted.transform(accounts), accounts[roles.label.column].to_numpy(np.int8)
    folds = assign_folds(labels, training)
    grown = fit_booster(matrix, labels, folds, training)
    return assemble_model(grown, folds, fitted, matrix, accounts, roles, training)


def assemble_model(
    fitted: Fitted,
    folds: NDArray[np.int8],
    encoder: Encoder,
    matrix: NDArray[np.float32],
    accounts: pd.DataFrame,
    roles: Accounts,
    training: Training,
) -> ChurnModel:
    """Calibrate the booster and put together what is deployed.

    Args:
        fitted: The booster and the margins of the training rows by boosters not grown on them.
        folds: Fold of each training row, shape (n,).
        encoder: Encoder fitted on the training rows.
        matrix: The encoded training rows, shape (n, k).
        accounts: The canonical training rows with their label, in the same order.
        roles: What each column is.
        training: How to calibrate, threshold and risk bands.
    """
    labels = accounts[roles.label.column].to_numpy(np.int8)
    probability = unseen_probability(fitted.margin, labels, folds, training)
    profile = fit_profile(accounts, roles.numeric_names, roles.categorical)
    return ChurnModel(
        roles=roles,
        encoder=encoder,
        booster=fitted.booster,
        threshold=training.threshold,
        risk_bands=training.risk_bands,
        reference=profile.with_score(fit_score_profile(probability)),
        performance=classification_metrics(labels, probability, training.threshold),
        importance=mean_contributions(fitted.booster, encoder, matrix),
        calibration=fit_calibration(fitted.margin, labels, training.calibration),
    )


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


def mean_contributions(booster: Booster, encoder: Encoder, matrix: NDArray[np.float32]) -> dict[str, float]:
    """Mean absolute contribution of each account column to the margin, in log-odds."""
    # Evenly spaced rows: a table may be sorted.
    rows = matrix[:: math.ceil(len(matrix) / IMPORTANCE_ROWS)]
    parts = contributions(booster, encoder, rows).drop(columns=BASELINE)
    return {str(name): float(value) for name, value in parts.abs().mean().items()}
