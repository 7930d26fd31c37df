"""Nodes of the pipeline training."""

import logging
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn.config import AccountSchema, Experiment, FeatureEngineering, Profit, Promotion, Training, dumped
from churn.config.console import with_bar
from churn.experiment import CallEffect, profit_in_use
from churn.metrics import Interval, bootstrap_intervals, calibration_curve, classification_metrics
from churn.model import ChurnModel, Encoder
from churn.model.linear import Linear
from churn.model.trees import Booster
from churn.registry.fingerprint import package_versions
from churn.registry.metric_names import tracked_names
from churn.reporting import plots
from churn.reporting.model_card import model_card as describe
from churn.reporting.money import worth
from churn.reporting.plots import Figure
from churn.retention import account_values
from churn.retention.maximum_profit import expected_maximum_profit, save_rate_distribution
from churn.retention.profit import profit_policies
from churn.retention.trade_off import trade_off
from churn.tables import Table, spacing
from churn.tables.split import Split
from churn.training import boosting, leakage, trainer, tuning
from churn.training.challenge import Challenge, latency_of, segment_figures
from churn.training.evaluation import Fold, baseline_probabilities, cross_validate, evaluate
from churn.training.trainer import Parts
from churn.training.tuning import Trial

logger = logging.getLogger(__name__)
# Rows to fit baselines on: with more they would take longer without getting better.
BASELINE_ROWS = 100_000


def hold_out_validation(train_features: Table, schema: AccountSchema, training: Training) -> pd.DataFrame:
    """Assign each training row to the fold that holds it out; return ``outcome``, 0 or 1, and ``fold``, from 0."""
    return trainer.fold_rows(train_features.column(schema.label.column).to_numpy(np.int8), training)


def search_parameters(
    train_accounts: pd.DataFrame,
    encoder: dict[str, Any],
    schema: AccountSchema,
    feature_engineering: FeatureEngineering,
    training: Training,
) -> Iterator[list[Trial]]:
    """Search for better parameters, if ``training.tuning`` asks for it.

    Yields:
        The list of all trials so far, after each trial; at first an empty list.
    """
    trials: list[Trial] = []
    yield trials
    if not training.tuning.enabled:
        return
    searched = tuning.search(
        train_accounts,
        Encoder.from_dict(encoder),
        boosting.assign_folds(train_accounts[schema.label.column].to_numpy(np.int8), training),
        schema,
        feature_engineering,
        training,
    )
    for trial in with_bar(searched, "tuning", total=training.tuning.trials):
        trials = [*trials, trial]
        yield trials


def choose_parameters(
    trials: list[Trial],
    train_accounts: pd.DataFrame,
    encoder: dict[str, Any],
    schema: AccountSchema,
    feature_engineering: FeatureEngineering,
    training: Training,
) -> tuple[Training, dict[str, Any], dict[str, Any]]:
    """Choose the best trial if it is clearly better than the configured parameters; return parameters, encoder, summary."""
    chosen, narrower, summary = trainer.choose_parameters(
        trials, train_accounts, Encoder.from_dict(encoder), schema, feature_engineering, training
    )
    if summary:
        logger.info("%s.", tuning.in_words(summary))
    return chosen, narrower.to_dict(), summary


def fit_parts(
    train_features: Table,
    validation_folds: pd.DataFrame,
    encoder: dict[str, Any],
    schema: AccountSchema,
    training: Training,
) -> Parts:
    """Fit a booster and a logistic regression for each fold, and average each kind."""
    return trainer.fit_parts(train_features, validation_folds, Encoder.from_dict(encoder), schema, training)


def assemble_model(
    booster: Booster,
    linear_part: Linear,
    trained_encoder: Encoder,
    validation_margins: pd.DataFrame,
    portfolio_summary: dict[str, Any],
    train_accounts: pd.DataFrame,
    test_accounts: pd.DataFrame,
    training_split: dict[str, Any],
    schema: AccountSchema,
    training: Training,
) -> ChurnModel:
    """Blend and calibrate the parts and assemble the deployable model; test rows are for the reference of its scores only."""
    parts = Parts(booster, linear_part, trained_encoder, validation_margins, portfolio_summary)
    return trainer.assemble_model(
        parts,
        train_accounts,
        schema.taking_for_stayed(training_split.get("stayed", ())),
        training,
        test_accounts=test_accounts,
        split=Split.from_dict(training_split),
    )


def evaluate_model(
    churn_model: ChurnModel,
    train_accounts: pd.DataFrame,
    test_accounts: pd.DataFrame,
    oracle: pd.DataFrame | None,
    schema: AccountSchema,
) -> dict[str, float]:
    """Compute the metrics on train and test rows and, if the true probabilities are known, the best possible ROC AUC."""
    return evaluate(churn_model, train_accounts, test_accounts, oracle, schema)


def track_metrics(training_metrics: dict[str, float]) -> dict[str, float]:
    """Return the metrics by the names that they have in MLflow."""
    return tracked_names(training_metrics)


class EvaluationPlots(NamedTuple):
    """Plots of the model's performance on the test rows."""

    roc_and_precision_recall: Figure
    calibration: Figure
    lift: Figure
    profit: Figure
    importance: Figure


def plot_evaluation(
    churn_model: ChurnModel, test_accounts: pd.DataFrame, schema: AccountSchema, profit: Profit
) -> EvaluationPlots:
    """Plot the model's performance on the test rows, and the importance of the columns."""
    labels, probability = _labels_and_scores(churn_model, test_accounts, schema)
    value = account_values(test_accounts, profit)
    return EvaluationPlots(
        roc_and_precision_recall=plots.roc_and_precision_recall(labels, probability),
        calibration=plots.calibration(labels, probability),
        lift=plots.cumulative_gain(labels, probability),
        profit=plots.profit_of_acting(labels, probability, value, profit, churn_model.threshold),
        importance=plots.importance(churn_model.importance),
    )


class Sound(NamedTuple):
    """Accounts and features that passed the check for leakage."""

    accounts: pd.DataFrame
    features: Table


def check_leakage(
    train_accounts: pd.DataFrame,
    test_accounts: pd.DataFrame,
    train_features: Table,
    schema: AccountSchema,
    training: Training,
) -> Sound:
    """Raise an error if a column leaks the outcome, warn of copies of accounts, and return the training rows unchanged."""
    leakage.check_leakage(train_accounts, schema, training.leakage, test_accounts=test_accounts)
    if said := leakage.twins_note(train_accounts, test_accounts, schema):
        logger.warning("%s.", said)
    return Sound(train_accounts, train_features)


def use_measured_save_rate(profit: Profit, experiment: Experiment, call_effect: CallEffect | None) -> Profit:
    """Return the amounts with the save rate in use: the assumed one, or the measured one if that is to be used."""
    return profit_in_use(profit, experiment, call_effect)


def measure_profit(
    churn_model: ChurnModel, test_accounts: pd.DataFrame, schema: AccountSchema, profit: Profit
) -> dict[str, float]:
    """Compute the profit per account of acting on the test rows by each policy, and the expected maximum profit."""
    labels, probability = _labels_and_scores(churn_model, test_accounts, schema)
    value = account_values(test_accounts, profit)
    made = profit_policies(labels, probability, value, profit, churn_model.threshold)
    alpha, beta = save_rate_distribution(profit)
    best = expected_maximum_profit(
        labels,
        probability,
        alpha=alpha,
        beta=beta,
        clv=float(value.mean()),
        offer=profit.offer_cost,
        contact=profit.contact_cost,
    )
    return {f"test_{name}": amount for name, amount in made.items()} | {"test_empc": best.profit}


def measure_baselines(
    train_features: pd.DataFrame,
    test_features: pd.DataFrame,
    encoder: dict[str, Any],
    schema: AccountSchema,
    training: Training,
) -> dict[str, dict[str, float]]:
    """Compute the metrics of the usual models of scikit-learn on the test rows, encoded without rates and differences."""
    if not training.evaluation.baselines:
        return {}
    names = Encoder.from_dict(encoder).plain.feature_names
    if not names:
        return {}
    some = train_features.iloc[:: spacing(len(train_features), BASELINE_ROWS)]
    scores = baseline_probabilities(
        some[names].to_numpy(np.float32),
        some[schema.label.column].to_numpy(np.int8),
        test_features[names].to_numpy(np.float32),
        training.evaluation.random_state,
    )
    labels = test_features[schema.label.column]
    return {name: classification_metrics(labels, given, training.threshold) for name, given in scores.items()}


def measure_confidence(
    churn_model: ChurnModel, test_accounts: pd.DataFrame, schema: AccountSchema, training: Training
) -> dict[str, Interval]:
    """Compute confidence intervals of the metrics on the test rows."""
    labels, probability = _labels_and_scores(churn_model, test_accounts, schema)
    return bootstrap_intervals(labels, probability, churn_model.threshold, training.evaluation)


def cross_validate_model(
    train_accounts: pd.DataFrame,
    test_accounts: pd.DataFrame,
    schema: AccountSchema,
    feature_engineering: FeatureEngineering,
    training: Training,
) -> dict[str, Interval]:
    """Cross-validate on all rows, if ``training.evaluation`` asks for it; trains one model per fold."""
    if training.evaluation.method != "cross_validation":
        return {}
    rows = pd.concat([train_accounts, test_accounts], ignore_index=True)

    def fit(part: pd.DataFrame) -> Callable[[pd.DataFrame], NDArray[np.float32]]:
        return trainer.train_model(part, schema, feature_engineering, training).probability

    labels = rows[schema.label.column].to_numpy(np.int8)

    def progress(folds: list[Fold]) -> Iterator[Fold]:
        return with_bar(folds, "cross-validation", total=len(folds))

    return cross_validate(rows, labels, fit, training.threshold, training.evaluation, progress)


def collect_metrics(
    model_metrics: dict[str, float],
    profit_metrics: dict[str, float],
    baseline_metrics: dict[str, dict[str, float]],
    intervals: dict[str, Interval],
    cross_validated: dict[str, Interval],
) -> dict[str, float]:
    """Return all metrics of a training in one flat dictionary; those of a cross-validation are named ``cv_...``."""
    flat = model_metrics | profit_metrics
    for measure, interval in cross_validated.items():
        flat |= {
            f"cv_{measure}": interval.value,
            f"cv_{measure}_low": interval.low,
            f"cv_{measure}_high": interval.high,
        }
    for measure, interval in intervals.items():
        flat |= {f"test_{measure}_low": interval.low, f"test_{measure}_high": interval.high}
    for name, measured in baseline_metrics.items():
        flat |= {f"{name}_{measure}": value for measure, value in measured.items()}
    return flat


def measure_latency(churn_model: ChurnModel, test_accounts: pd.DataFrame) -> float:
    """Return the milliseconds to score 1,000 accounts."""
    return latency_of(churn_model, test_accounts.head(1000))


def describe_model(
    churn_model: ChurnModel,
    challenge: Challenge,
    training_metrics: dict[str, float],
    baseline_metrics: dict[str, dict[str, float]],
    intervals: dict[str, Interval],
    promotion_decision: dict[str, Any],
    validation_folds: pd.DataFrame,
    training_source: dict[str, Any],
    tuning_summary: dict[str, Any],
    portfolio_summary: dict[str, Any],
    training: Training,
    promotion: Promotion,
    profit: Profit,
    parameters: dict[str, Any],
) -> dict[str, Any]:
    """Create the model card: data, parameters, metrics, decision, and the command to reproduce the model."""
    measured = classification_metrics(challenge.labels, challenge.challenger, churn_model.threshold)
    return describe(
        {**measured, **intervals},
        version=promotion_decision["version"],
        sha256=churn_model.sha256,
        confidence=training.evaluation.confidence,
        data={
            **training_source,
            "training_rows": len(validation_folds),
            "test_rows": len(challenge.labels),
            "churn_rate": float(validation_folds["outcome"].mean()),
        },
        baselines=baseline_metrics,
        calibration=calibration_curve(challenge.labels, challenge.challenger),
        segments=[segment._asdict() for segment in segment_figures(challenge, promotion)],
        promotion=promotion_decision,
        importance=churn_model.importance,
        example_costs=profit.examples,
        save_rate=profit.save_rate_sentence if profit.measured else None,
        money=worth(
            trade_off(
                challenge.labels, challenge.challenger, _values(challenge, profit), profit, churn_model.threshold
            ),
            profit,
        ),
        tuning=tuning_summary,
        portfolio=portfolio_summary,
        rated=list(churn_model.encoder.rated),
        parameters=dumped(parameters),
        reproduce={
            "command": "kedro run --pipelines feature_engineering,training",
            "data_sha256": training_source["sha256"],
            "trees": int(training_metrics["trees"]),
            "packages": package_versions(),
        },
    )


def render_card(model_card: dict[str, Any]) -> str:
    """Render the model card as an HTML page."""
    from churn.reporting.model_card import render_model_card

    return render_model_card(model_card)


def _values(challenge: Challenge, profit: Profit) -> NDArray[np.float64]:
    """Return the value of each test account, in currency."""
    given = np.full(len(challenge.labels), np.nan) if challenge.value is None else challenge.value.astype(np.float64)
    return np.where(np.isnan(given), profit.account_value, given)


def _labels_and_scores(
    churn_model: ChurnModel, rows: pd.DataFrame, schema: AccountSchema
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    return rows[schema.label.column].to_numpy(np.int8), churn_model.probability(rows)
