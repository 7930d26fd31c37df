"""Nodes that train, measure and promote the model."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn import boosting, plots
from churn.boosting import Booster
from churn.drift import fit_profile, fit_score_profile
from churn.encoding import Encoder
from churn.metrics import classification_metrics
from churn.model import BASELINE, ChurnModel, contributions
from churn.parameters import Accounts, Training
from churn.plots import Figure

# Contributions cost far more than scores; this many rows settle their mean.
IMPORTANCE_ROWS = 5_000


class Watched(NamedTuple):
    """Training rows to fit, and training rows that early stopping watches."""

    fit: pd.DataFrame
    validation: pd.DataFrame


def hold_out_validation(train_features: pd.DataFrame, accounts: Accounts, training: Training) -> Watched:
    """Split the training rows into rows to fit and rows to watch, stratified by label and seeded."""
    from sklearn.model_selection import train_test_split

    fit, validation = train_test_split(
        train_features,
        test_size=training.validation_share,
        random_state=training.random_state,
        stratify=train_features[accounts.label.column],
    )
    return Watched(fit=fit, validation=validation)


def fit_booster(
    fit_features: pd.DataFrame,
    validation_features: pd.DataFrame,
    encoder: dict[str, Any],
    accounts: Accounts,
    training: Training,
) -> Booster:
    """Grow trees with early stopping."""
    names = Encoder.from_dict(encoder).feature_names
    return boosting.fit_booster(
        *_matrix(fit_features, names, accounts), *_matrix(validation_features, names, accounts), training
    )


def assemble_model(
    booster: Booster,
    encoder: dict[str, Any],
    train_accounts: pd.DataFrame,
    validation_features: pd.DataFrame,
    accounts: Accounts,
    training: Training,
) -> ChurnModel:
    """Put together what is deployed; all of it comes from training rows."""
    fitted = Encoder.from_dict(encoder)
    features, labels = _matrix(validation_features, fitted.feature_names, accounts)
    probability = np.asarray(booster.inplace_predict(features), dtype=np.float32)
    parts = contributions(booster, fitted, features[:IMPORTANCE_ROWS]).drop(columns=BASELINE)
    profile = fit_profile(train_accounts, accounts.numeric_names, accounts.categorical)
    return ChurnModel(
        roles=accounts,
        encoder=fitted,
        booster=booster,
        threshold=training.threshold,
        risk_bands=training.risk_bands,
        reference=profile.with_score(fit_score_profile(probability)),
        performance=classification_metrics(labels, probability, training.threshold),
        importance={str(name): float(value) for name, value in parts.abs().mean().items()},
    )


def evaluate_model(
    churn_model: ChurnModel,
    train_accounts: pd.DataFrame,
    test_accounts: pd.DataFrame,
    oracle: pd.DataFrame | None,
    accounts: Accounts,
) -> dict[str, float]:
    """Measure the model on train and test rows, and where the truth is known, what the best possible model reaches.

    Returns:
        Measures named ``train_...`` and ``test_...``; ``oracle_roc_auc`` of the true probabilities on the test rows,
        and the share of it that the model reaches, ``test_roc_auc_of_oracle``.
    """
    metrics: dict[str, float] = {"trees": float(churn_model.booster.num_boosted_rounds())}
    for name, rows in (("train", train_accounts), ("test", test_accounts)):
        measured = classification_metrics(
            rows[accounts.label.column], churn_model.probability(rows), churn_model.threshold
        )
        metrics |= {f"{name}_{measure}": value for measure, value in measured.items()}
        metrics[f"{name}_rows"] = float(len(rows))
    truth = true_probability(test_accounts, oracle, accounts)
    if truth is not None:
        labels = test_accounts[accounts.label.column]
        best = classification_metrics(labels, truth, churn_model.threshold)["roc_auc"]
        metrics["oracle_roc_auc"] = best
        metrics["test_roc_auc_of_oracle"] = metrics["test_roc_auc"] / best
    return metrics


def true_probability(rows: pd.DataFrame, oracle: pd.DataFrame | None, accounts: Accounts) -> NDArray[np.float64] | None:
    """True probabilities of the rows, if all are known."""
    if oracle is None or not len(oracle):
        return None
    known = oracle.set_index(accounts.id)["probability"].reindex(rows[accounts.id])
    return None if known.isna().any() else known.to_numpy(np.float64)


def track_metrics(training_metrics: dict[str, float]) -> dict[str, dict[str, float]]:
    """Metrics in the form that kedro-mlflow logs."""
    return {name: {"value": value, "step": 0} for name, value in training_metrics.items()}


class EvaluationPlots(NamedTuple):
    """Pictures of how good the model is, on the test rows."""

    roc_and_precision_recall: Figure
    calibration: Figure
    lift: Figure
    importance: Figure


def plot_evaluation(churn_model: ChurnModel, test_accounts: pd.DataFrame, accounts: Accounts) -> EvaluationPlots:
    """Draw the model's performance on the test rows and the importance of the columns."""
    labels = test_accounts[accounts.label.column].to_numpy()
    probability = churn_model.probability(test_accounts)
    return EvaluationPlots(
        roc_and_precision_recall=plots.roc_and_precision_recall(labels, probability),
        calibration=plots.calibration(labels, probability),
        lift=plots.cumulative_gain(labels, probability),
        importance=plots.importance(churn_model.importance),
    )


def decide_promotion(churn_model: ChurnModel, training_metrics: dict[str, float]) -> dict[str, Any]:
    """Promote the model that was just trained."""
    return {
        "promote": True,
        "sha256": churn_model.sha256,
        "reason": f"newest model, test ROC AUC {training_metrics['test_roc_auc']:.4f}",
    }


def _matrix(rows: pd.DataFrame, names: list[str], accounts: Accounts) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    return rows[names].to_numpy(np.float32), rows[accounts.label.column].to_numpy(np.int8)
