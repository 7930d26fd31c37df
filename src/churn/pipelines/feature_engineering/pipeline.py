"""Pipeline feature_engineering: check, split and encode the training accounts."""

from kedro.pipeline import Pipeline, node, pipeline

from churn.pipelines.feature_engineering.nodes import (
    describe_accounts,
    describe_source,
    encode_accounts,
    fit_encoder,
    render_report,
    split_accounts,
    validate_accounts,
)


def create_pipeline() -> Pipeline:
    """Create the pipeline: accounts -> train and test accounts -> encoder (train rows only) -> train and test features."""
    return pipeline(
        [
            node(
                validate_accounts,
                inputs=["training_accounts@batches", "params:accounts"],
                outputs="valid_accounts",
                name="validate_accounts",
            ),
            node(
                split_accounts,
                inputs={
                    "valid_accounts": "valid_accounts",
                    "schema": "params:accounts",
                    "feature_engineering": "params:feature_engineering",
                },
                outputs=["train_accounts@batches", "test_accounts@batches", "training_split"],
                name="split_accounts",
            ),
            node(
                describe_accounts,
                inputs={
                    "train_accounts": "train_accounts@batches",
                    "training_accounts": "training_accounts@batches",
                    "schema": "params:accounts",
                    "training": "params:training",
                },
                outputs="data_report",
                name="describe_accounts",
            ),
            node(render_report, inputs="data_report", outputs="data_report_page", name="render_report"),
            node(
                fit_encoder,
                inputs={
                    "train_accounts": "train_accounts@batches",
                    "schema": "params:accounts",
                    "feature_engineering": "params:feature_engineering",
                },
                outputs="encoder",
                name="fit_encoder",
            ),
            node(
                encode_accounts,
                inputs={"split": "train_accounts@batches", "encoder": "encoder", "schema": "params:accounts"},
                outputs="train_features@batches",
                name="encode_train_accounts",
            ),
            node(
                encode_accounts,
                inputs={"split": "test_accounts@batches", "encoder": "encoder", "schema": "params:accounts"},
                outputs="test_features@batches",
                name="encode_test_accounts",
            ),
            node(
                describe_source,
                inputs=["training_accounts@fingerprint", "train_features@batches", "test_features@batches"],
                outputs="training_source",
                name="describe_source",
            ),
        ]
    )
