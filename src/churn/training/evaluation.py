"""Evaluate the model: metrics on test rows, cross-validation, and baseline models."""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from churn.config import AccountSchema, Evaluation
from churn.metrics import Interval, classification_metrics
from churn.model import ChurnModel

BASELINES = ("logistic_regression", "hist_gradient_boosting")


class Fold(NamedTuple):
    """Positions of the rows to fit and the rows to test."""

    train: NDArray[np.int64]
    test: NDArray[np.int64]


def folds(labels: ArrayLike, evaluation: Evaluation) -> list[Fold]:
    """Return the folds of a repeated stratified cross-validation, one repeat after the other."""
    from sklearn.model_selection import RepeatedStratifiedKFold

    splitter = RepeatedStratifiedKFold(
        n_splits=evaluation.folds, n_repeats=evaluation.repeats, random_state=evaluation.random_state
    )
    truth = np.asarray(labels)
    return [Fold(train, test) for train, test in splitter.split(np.zeros(len(truth)), truth)]


def cross_validate(
    accounts: pd.DataFrame,
    labels: ArrayLike,
    fit: Callable[[pd.DataFrame], Callable[[pd.DataFrame], NDArray[np.floating]]],
    threshold: float,
    evaluation: Evaluation,
    progress: Callable[[list[Fold]], Iterator[Fold]] = iter,
) -> dict[str, Interval]:
    """Compute metrics by repeated stratified cross-validation; everything is fitted anew in each fold.

    Args:
        accounts: Account rows with their label, shape (n, any).
        labels: Outcomes, shape (n,).
        fit: Function that fits on account rows and returns a function from account rows to probabilities.
        threshold: Probability from which churn is predicted.
        evaluation: Folds, repeats, confidence and seed.
        progress: Function that wraps the folds, for a progress bar.

    Returns:
        For each metric the mean over the folds with the interval between quantiles of the folds' values. The interval
        shows the spread between folds, not the error of the mean.
    """
    truth = np.asarray(labels)
    measured = []
    for fold in progress(folds(truth, evaluation)):
        predict = fit(accounts.iloc[fold.train].reset_index(drop=True))
        probability = predict(accounts.iloc[fold.test].reset_index(drop=True))
        measured.append(classification_metrics(truth[fold.test], probability, threshold))
    tail = (1 - evaluation.confidence) / 2
    table = pd.DataFrame(measured)
    return {
        str(name): Interval(float(values.mean()), float(values.quantile(tail)), float(values.quantile(1 - tail)))
        for name, values in table.items()
    }


def baseline_probabilities(
    features: NDArray[np.float32], labels: ArrayLike, test_features: NDArray[np.float32], seed: int
) -> dict[str, NDArray[np.float64]]:
    """Fit the usual models of scikit-learn on the same encoding and predict the test rows.

    Args:
        features: Encoded training rows, shape (n, k).
        labels: Their outcomes, shape (n,).
        test_features: Encoded test rows, shape (m, k).
        seed: Seed of the models that use random numbers.

    Returns:
        For each of `BASELINES` the probabilities, shape (m,).
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    models: Mapping[str, object] = {
        "logistic_regression": make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
        "hist_gradient_boosting": HistGradientBoostingClassifier(random_state=seed),
    }
    return {
        name: np.asarray(model.fit(features, labels).predict_proba(test_features)[:, 1], dtype=np.float64)  # type: ignore[attr-defined]
        for name, model in models.items()
    }


def evaluate(
    model: ChurnModel,
    train_accounts: pd.DataFrame,
    test_accounts: pd.DataFrame,
    oracle: pd.DataFrame | None,
    schema: AccountSchema,
) -> dict[str, float]:
    """Compute the metrics on training and test rows and, if the true probabilities are known, the best possible ROC AUC.

    Returns:
        Metrics named ``train_...`` and ``test_...``; ``oracle_roc_auc``, that of the true probabilities on the test rows,
        and ``test_roc_auc_of_oracle``, the share of it that the model reaches.
    """
    metrics: dict[str, float] = {"trees": float(model.trees.rounds)}
    for name, rows in (("train", train_accounts), ("test", test_accounts)):
        measured = classification_metrics(rows[schema.label.column], model.probability(rows), model.threshold)
        metrics |= {f"{name}_{measure}": value for measure, value in measured.items()}
        metrics[f"{name}_rows"] = float(len(rows))
    truth = true_probability(test_accounts, oracle, schema)
    if truth is not None:
        labels = test_accounts[schema.label.column]
        best = classification_metrics(labels, truth, model.threshold)["roc_auc"]
        metrics["oracle_roc_auc"] = best
        metrics["test_roc_auc_of_oracle"] = metrics["test_roc_auc"] / best
    return metrics


def true_probability(
    rows: pd.DataFrame, oracle: pd.DataFrame | None, schema: AccountSchema
) -> NDArray[np.float64] | None:
    """Return the true probabilities of the rows, if all are known."""
    if oracle is None or not len(oracle):
        return None
    known = oracle.set_index(schema.id)["probability"].reindex(rows[schema.id])
    return None if known.isna().any() else known.to_numpy(np.float64)
