"""Fitting the booster."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from churn.parameters import Training

if TYPE_CHECKING:
    from xgboost import Booster as Booster
else:
    # Kedro reads the annotations of nodes when it starts, long before xgboost is needed.
    Booster = Any


def booster_parameters(training: Training) -> dict[str, Any]:
    """The dictionary that XGBoost gets: every configured parameter, the seed, the device and the threads."""
    configured = training.booster.model_dump(exclude={"n_estimators"})
    return {
        **configured,
        "objective": "binary:logistic",
        "eval_metric": "logloss",
        "seed": training.random_state,
        "device": training.device,
        "nthread": training.threads,
    }


def fit_booster(
    features: NDArray[np.float32],
    labels: NDArray[np.int8],
    validation_features: NDArray[np.float32],
    validation_labels: NDArray[np.int8],
    training: Training,
) -> Booster:
    """Grow trees until the log loss of the validation rows stops falling.

    Args:
        features: Encoded rows to fit, shape (n, k).
        labels: Their outcomes, shape (n,), 0 or 1.
        validation_features: Encoded rows that early stopping watches, shape (m, k).
        validation_labels: Their outcomes, shape (m,).
        training: Parameters of XGBoost and of early stopping.

    Returns:
        The booster, cut after its best tree.
    """
    import xgboost as xgb

    fit: xgb.DMatrix
    watched: xgb.DMatrix
    if training.booster.tree_method == "hist":
        bins = training.booster.max_bin
        fit = xgb.QuantileDMatrix(features, labels, max_bin=bins)
        watched = xgb.QuantileDMatrix(validation_features, validation_labels, ref=fit, max_bin=bins)
    else:
        fit, watched = xgb.DMatrix(features, labels), xgb.DMatrix(validation_features, validation_labels)
    booster = xgb.train(
        booster_parameters(training),
        fit,
        num_boost_round=training.booster.n_estimators,
        evals=[(watched, "validation")],
        early_stopping_rounds=training.early_stopping_rounds,
        verbose_eval=False,
    )
    best: Booster = booster[: booster.best_iteration + 1]
    return best
