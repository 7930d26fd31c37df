"""Pipeline inference: score a table of accounts with the champion and publish the results."""

from kedro.pipeline import Pipeline, node, pipeline

from churn.pipelines.inference.nodes import score_accounts, select_partitions, validate_scoring_accounts


def create_pipeline() -> Pipeline:
    """Create the pipeline: champion + scoring accounts -> scores and retention list -> results."""
    return pipeline(
        [
            node(
                select_partitions,
                inputs={
                    "scoring_fingerprint": "scoring_accounts@fingerprint",
                    "current_ledger": "current_ledger",
                    "champion": "champion@model",
                    "inference": "params:inference",
                },
                outputs="selected_partitions",
                name="select_partitions",
            ),
            node(
                validate_scoring_accounts,
                inputs={
                    "scoring_accounts": "scoring_accounts@batches",
                    "selected_partitions": "selected_partitions",
                    "champion": "champion@model",
                    "schema": "params:accounts",
                    "inference": "params:inference",
                },
                outputs="valid_scoring_accounts",
                name="validate_scoring_accounts",
            ),
            node(
                score_accounts,
                inputs={
                    "valid_scoring_accounts": "valid_scoring_accounts",
                    "champion": "champion@model",
                    "selected_partitions": "selected_partitions",
                    "current_ledger": "current_ledger",
                    "as_of": "as_of",
                    "inference": "params:inference",
                    "profit": "params:profit",
                    "decision": "params:decision",
                    "reasons": "params:reasons",
                },
                outputs="results@publish",
                name="score_accounts",
            ),
        ]
    )
