"""Nodes that train, measure and promote the model."""

import logging
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel

from churn.config import AccountSchema, FeatureEngineering, Profit, Promotion, Training
from churn.config.console import with_bar
from churn.metrics import Interval, bootstrap_intervals, calibration_curve, classification_metrics
from churn.model import ChurnModel, Encoder
from churn.model.linear import Linear
from churn.model.trees import Booster
from churn.registry.fingerprint import Fingerprint, fingerprint_of_training, package_versions
from churn.reporting import plots
from churn.reporting.model_card import model_card as describe
from churn.reporting.plots import Figure
from churn.retention import account_values
from churn.retention.maximum_profit import expected_maximum_profit, save_rate_distribution
from churn.retention.profit import profit_policies
from churn.tables import Table, spacing
from churn.training import boosting, decide, leakage, trainer, tuning
from churn.training.challenge import Challenge, latency_of, segment_figures
from churn.training.evaluation import Fold, baseline_probabilities, cross_validate, evaluate
from churn.training.promotion import PromotionDecision
from churn.training.trainer import Parts
from churn.training.tuning import Trial

logger = logging.getLogger(__name__)

# The usual models do not get better with more rows than these, only slower.
BASELINE_ROWS = 100_000


def hold_out_validation(train_features: Table, schema: AccountSchema, training: Training) -> pd.DataFrame:
    """Assign each training row to the fold that holds it out: ``outcome`` of each row, 0 or 1, and ``fold`` from 0."""
    return trainer.fold_rows(train_features.column(schema.label.column).to_numpy(np.int8), training)


def search_parameters(
    train_accounts: pd.DataFrame,
    encoder: dict[str, Any],
    schema: AccountSchema,
    feature_engineering: FeatureEngineering,
    training: Training,
) -> Iterator[list[Trial]]:
    """Try other parameters, if that is asked for.

    Yields:
        All trials so far, again after each one; at first none.
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
    """Take the best trial where it is clearly better than what is configured: parameters, encoder, and a summary."""
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
    validation_margins: pd.DataFrame,
    encoder: dict[str, Any],
    train_accounts: pd.DataFrame,
    schema: AccountSchema,
    training: Training,
) -> ChurnModel:
    """Blend, calibrate and put together what is deployed; all of it comes from training rows."""
    parts = Parts(booster, linear_part, validation_margins)
    return trainer.assemble_model(parts, Encoder.from_dict(encoder), train_accounts, schema, training)


def evaluate_model(
    churn_model: ChurnModel,
    train_accounts: pd.DataFrame,
    test_accounts: pd.DataFrame,
    oracle: pd.DataFrame | None,
    schema: AccountSchema,
) -> dict[str, float]:
    """Measure the model on train and test rows, and where the truth is known, what the best possible model reaches."""
    return evaluate(churn_model, train_accounts, test_accounts, oracle, schema)


def track_metrics(training_metrics: dict[str, float]) -> dict[str, dict[str, float]]:
    """Metrics in the form that kedro-mlflow logs."""
    return {name: {"value": value, "step": 0} for name, value in training_metrics.items()}


class EvaluationPlots(NamedTuple):
    """Pictures of how good the model is, on the test rows."""

    roc_and_precision_recall: Figure
    calibration: Figure
    lift: Figure
    profit: Figure
    importance: Figure


def plot_evaluation(
    churn_model: ChurnModel, test_accounts: pd.DataFrame, schema: AccountSchema, profit: Profit
) -> EvaluationPlots:
    """Draw the model's performance on the test rows and the importance of the columns."""
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
    """What the model may be trained on."""

    accounts: pd.DataFrame
    features: Table


def check_leakage(
    train_accounts: pd.DataFrame,
    test_accounts: pd.DataFrame,
    train_features: Table,
    schema: AccountSchema,
    training: Training,
) -> Sound:
    """Stop before training where a column gives the answer away; the training rows as they are otherwise."""
    leakage.check_leakage(train_accounts, schema, training.leakage, test_accounts=test_accounts)
    return Sound(train_accounts, train_features)


def measure_profit(
    churn_model: ChurnModel, test_accounts: pd.DataFrame, schema: AccountSchema, profit: Profit
) -> dict[str, float]:
    """What acting on the test rows would bring, per account, by each rule, and the expected maximum profit."""
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
    """Measures of scikit-learn's usual models on the test rows, from the same encoding."""
    if not training.evaluation.baselines:
        return {}
    names = Encoder.from_dict(encoder).feature_names
    some = train_features.iloc[:: spacing(len(train_features), BASELINE_ROWS)]
    scores = baseline_probabilities(
        *_matrix(some, names, schema),
        test_features[names].to_numpy(np.float32),
        training.evaluation.random_state,
    )
    labels = test_features[schema.label.column]
    return {name: classification_metrics(labels, given, training.threshold) for name, given in scores.items()}


def measure_confidence(
    churn_model: ChurnModel, test_accounts: pd.DataFrame, schema: AccountSchema, training: Training
) -> dict[str, Interval]:
    """How sure the measures of the test rows are."""
    labels, probability = _labels_and_scores(churn_model, test_accounts, schema)
    return bootstrap_intervals(labels, probability, churn_model.threshold, training.evaluation)


def cross_validate_model(
    train_accounts: pd.DataFrame,
    test_accounts: pd.DataFrame,
    schema: AccountSchema,
    feature_engineering: FeatureEngineering,
    training: Training,
) -> dict[str, Interval]:
    """Measures of models trained anew on folds of all rows, if that is asked for; takes as many trainings as folds."""
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
    """All figures of a training, flat; ``cv_...`` are those of a cross-validation."""
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
    """Milliseconds to score 1,000 accounts."""
    return latency_of(churn_model, test_accounts.head(1000))


def challenge_champion(
    churn_model: ChurnModel,
    reigning_champion: ChurnModel | None,
    reigning_version: str | None,
    test_accounts: pd.DataFrame,
    latency_ms: float,
    schema: AccountSchema,
    training: Training,
    promotion: Promotion,
    profit: Profit,
) -> Challenge:
    """What the gates look at: both models on the same test rows."""
    labels, probability = _labels_and_scores(churn_model, test_accounts, schema)
    comparable = reigning_champion is not None and not reigning_champion.misfits(schema)
    return Challenge(
        labels=labels,
        challenger=probability,
        champion=reigning_champion.probability(test_accounts) if reigning_champion and comparable else None,
        value=account_values(test_accounts, profit),
        segments={name: test_accounts[name].to_numpy(object) for name in promotion.segments},
        latency_ms=latency_ms,
        leaks=leakage.find_leaks(test_accounts, schema, training.leakage),
        champion_version=reigning_version,
    )


def fingerprint_training(
    churn_model: ChurnModel,
    training_source: dict[str, Any],
    schema: AccountSchema,
    feature_engineering: FeatureEngineering,
    training: Training,
) -> dict[str, Any]:
    """What the model is made of: its data, parameters, code and packages."""
    made_of = fingerprint_of_training(training_source, schema, feature_engineering, training)
    return {"model_sha256": churn_model.sha256, "made_of": made_of.model_dump(mode="json")}


def decide_promotion(
    challenge: Challenge,
    churn_model: ChurnModel,
    training_fingerprint: dict[str, Any],
    promotion: Promotion,
    profit: Profit,
) -> PromotionDecision:
    """Whether the challenger becomes the champion, with every gate's figures and the reason in a sentence."""
    made_of = Fingerprint.model_validate(training_fingerprint["made_of"])
    return decide(challenge, promotion, profit).about(churn_model.sha256, made_of.sha256)


def promote_champion(proposed_promotion: PromotionDecision) -> PromotionDecision:
    """Hand the decision on to the registry."""
    return proposed_promotion


def note_promotion(done: PromotionDecision) -> dict[str, Any]:
    """Keep the decision as the registry carried it out."""
    return done.to_dict()


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
    training: Training,
    promotion: Promotion,
    parameters: dict[str, Any],
) -> dict[str, Any]:
    """The model card: what the model is, how good it is, and how to make it again."""
    measured = classification_metrics(challenge.labels, challenge.challenger, churn_model.threshold)
    return describe(
        {**measured, **intervals},
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
        tuning=tuning_summary,
        parameters={
            name: block.model_dump(mode="json") if isinstance(block, BaseModel) else block
            for name, block in parameters.items()
        },
        reproduce={
            "command": "kedro run --pipelines feature_engineering,training",
            "data_sha256": training_source["sha256"],
            "trees": int(training_metrics["trees"]),
            "packages": package_versions(),
        },
    )


def render_card(model_card: dict[str, Any]) -> str:
    """The model card as a page."""
    from churn.reporting.model_card import render_model_card

    return render_model_card(model_card)


def _labels_and_scores(
    churn_model: ChurnModel, rows: pd.DataFrame, schema: AccountSchema
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    return rows[schema.label.column].to_numpy(np.int8), churn_model.probability(rows)


def _matrix(
    rows: pd.DataFrame, names: list[str], schema: AccountSchema
) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    return rows[names].to_numpy(np.float32), rows[schema.label.column].to_numpy(np.int8)
