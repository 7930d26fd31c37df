"""From features to the champion."""

from kedro.pipeline import Pipeline, node, pipeline

from churn.pipelines.training.nodes import (
    assemble_model,
    decide_promotion,
    evaluate_model,
    fit_booster,
    hold_out_validation,
    plot_evaluation,
    track_metrics,
)


def create_pipeline() -> Pipeline:
    """features -> booster -> churn_model -> metrics and plots -> champion."""
    return pipeline(
        [
            node(
                hold_out_validation,
                inputs={
                    "train_features": "train_features",
                    "accounts": "params:accounts",
                    "training": "params:training",
                },
                outputs=["fit_features", "validation_features"],
                name="hold_out_validation",
            ),
            node(
                fit_booster,
                inputs={
                    "fit_features": "fit_features",
                    "validation_features": "validation_features",
                    "encoder": "encoder",
                    "accounts": "params:accounts",
                    "training": "params:training",
                },
                outputs="booster",
                name="fit_booster",
            ),
            node(
                assemble_model,
                inputs={
                    "booster": "booster",
                    "encoder": "encoder",
                    "train_accounts": "train_accounts",
                    "validation_features": "validation_features",
                    "accounts": "params:accounts",
                    "training": "params:training",
                },
                outputs="churn_model",
                name="assemble_model",
            ),
            node(
                evaluate_model,
                inputs={
                    "churn_model": "churn_model",
                    "train_accounts": "train_accounts",
                    "test_accounts": "test_accounts",
                    "oracle": "oracle",
                    "accounts": "params:accounts",
                },
                outputs="training_metrics",
                name="evaluate_model",
            ),
            node(track_metrics, inputs="training_metrics", outputs="tracked_training_metrics", name="track_metrics"),
            node(
                plot_evaluation,
                inputs={
                    "churn_model": "churn_model",
                    "test_accounts": "test_accounts",
                    "accounts": "params:accounts",
                },
                outputs=["roc_plot", "calibration_plot", "lift_plot", "importance_plot"],
                name="plot_evaluation",
            ),
            node(
                decide_promotion,
                inputs=["churn_model", "training_metrics"],
                outputs="champion@decision",
                name="decide_promotion",
            ),
        ]
    )
