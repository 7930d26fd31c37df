"""From features to the champion."""

from kedro.pipeline import Pipeline, node, pipeline

from churn.pipelines.training.nodes import (
    assemble_model,
    challenge_champion,
    check_leakage,
    choose_parameters,
    collect_metrics,
    cross_validate_model,
    decide_promotion,
    describe_model,
    evaluate_model,
    fit_parts,
    hold_out_validation,
    measure_baselines,
    measure_confidence,
    measure_latency,
    measure_profit,
    note_promotion,
    plot_evaluation,
    promote_champion,
    render_card,
    search_parameters,
    track_metrics,
)


def create_pipeline() -> Pipeline:
    """features -> booster -> churn_model -> metrics and plots -> champion."""
    return pipeline(
        [
            node(
                check_leakage,
                inputs={
                    "train_accounts": "train_accounts",
                    "test_accounts": "test_accounts",
                    "accounts": "params:accounts",
                    "training": "params:training",
                },
                outputs="sound_accounts",
                name="check_leakage",
            ),
            node(
                hold_out_validation,
                inputs={
                    "train_accounts": "sound_accounts",
                    "accounts": "params:accounts",
                    "training": "params:training",
                },
                outputs="validation_folds",
                name="hold_out_validation",
            ),
            node(
                search_parameters,
                inputs={
                    "train_accounts": "sound_accounts",
                    "validation_folds": "validation_folds",
                    "encoder": "encoder",
                    "accounts": "params:accounts",
                    "feature_engineering": "params:feature_engineering",
                    "training": "params:training",
                },
                outputs="tuning_trials",
                name="search_parameters",
            ),
            node(
                choose_parameters,
                inputs={
                    "trials": "tuning_trials",
                    "train_accounts": "sound_accounts",
                    "encoder": "encoder",
                    "accounts": "params:accounts",
                    "feature_engineering": "params:feature_engineering",
                    "training": "params:training",
                },
                outputs=["chosen_training", "chosen_encoder", "tuning_summary"],
                name="choose_parameters",
            ),
            node(
                fit_parts,
                inputs={
                    "train_features": "train_features",
                    "validation_folds": "validation_folds",
                    "encoder": "chosen_encoder",
                    "accounts": "params:accounts",
                    "training": "chosen_training",
                },
                outputs=["booster", "linear_part", "validation_margins"],
                name="fit_parts",
            ),
            node(
                assemble_model,
                inputs={
                    "booster": "booster",
                    "linear_part": "linear_part",
                    "validation_margins": "validation_margins",
                    "encoder": "chosen_encoder",
                    "train_features": "train_features",
                    "train_accounts": "sound_accounts",
                    "accounts": "params:accounts",
                    "training": "chosen_training",
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
                outputs="model_metrics",
                name="evaluate_model",
            ),
            node(
                measure_profit,
                inputs={
                    "churn_model": "churn_model",
                    "test_accounts": "test_accounts",
                    "accounts": "params:accounts",
                    "profit": "params:profit",
                },
                outputs="profit_metrics",
                name="measure_profit",
            ),
            node(
                measure_baselines,
                inputs={
                    "train_features": "train_features",
                    "test_features": "test_features",
                    "encoder": "encoder",
                    "accounts": "params:accounts",
                    "training": "params:training",
                },
                outputs="baseline_metrics",
                name="measure_baselines",
            ),
            node(
                measure_confidence,
                inputs={
                    "churn_model": "churn_model",
                    "test_accounts": "test_accounts",
                    "accounts": "params:accounts",
                    "training": "params:training",
                },
                outputs="intervals",
                name="measure_confidence",
            ),
            node(
                cross_validate_model,
                inputs={
                    "train_accounts": "sound_accounts",
                    "test_accounts": "test_accounts",
                    "accounts": "params:accounts",
                    "feature_engineering": "params:feature_engineering",
                    "training": "params:training",
                },
                outputs="cross_validated",
                name="cross_validate_model",
            ),
            node(
                collect_metrics,
                inputs={
                    "model_metrics": "model_metrics",
                    "profit_metrics": "profit_metrics",
                    "baseline_metrics": "baseline_metrics",
                    "intervals": "intervals",
                    "cross_validated": "cross_validated",
                },
                outputs="training_metrics",
                name="collect_metrics",
            ),
            node(track_metrics, inputs="training_metrics", outputs="tracked_training_metrics", name="track_metrics"),
            node(
                plot_evaluation,
                inputs={
                    "churn_model": "churn_model",
                    "test_accounts": "test_accounts",
                    "accounts": "params:accounts",
                    "profit": "params:profit",
                },
                outputs=["roc_plot", "calibration_plot", "lift_plot", "profit_plot", "importance_plot"],
                name="plot_evaluation",
            ),
            node(
                measure_latency, inputs=["churn_model", "test_accounts"], outputs="latency_ms", name="measure_latency"
            ),
            node(
                challenge_champion,
                inputs={
                    "churn_model": "churn_model",
                    "reigning_champion": "reigning_champion",
                    "reigning_version": "reigning_version",
                    "test_accounts": "test_accounts",
                    "latency_ms": "latency_ms",
                    "accounts": "params:accounts",
                    "training": "params:training",
                    "promotion": "params:promotion",
                    "profit": "params:profit",
                },
                outputs="challenge",
                name="challenge_champion",
            ),
            node(
                decide_promotion,
                inputs={
                    "challenge": "challenge",
                    "churn_model": "churn_model",
                    "promotion": "params:promotion",
                    "profit": "params:profit",
                },
                outputs="proposed_promotion",
                name="decide_promotion",
            ),
            node(promote_champion, inputs="proposed_promotion", outputs="champion@decision", name="promote_champion"),
            node(note_promotion, inputs="champion@decision", outputs="promotion_decision", name="note_promotion"),
            node(
                describe_model,
                inputs={
                    "churn_model": "churn_model",
                    "challenge": "challenge",
                    "training_metrics": "training_metrics",
                    "baseline_metrics": "baseline_metrics",
                    "intervals": "intervals",
                    "promotion_decision": "promotion_decision",
                    "train_accounts": "train_accounts",
                    "training_fingerprint": "training_accounts@fingerprint",
                    "tuning_summary": "tuning_summary",
                    "training": "params:training",
                    "promotion": "params:promotion",
                    "parameters": "parameters",
                },
                outputs="model_card",
                name="describe_model",
            ),
            node(render_card, inputs="model_card", outputs="model_card_page", name="render_card"),
        ]
    )
