"""From the champion and a table of accounts to published scores."""

from kedro.pipeline import Pipeline, node, pipeline

from churn.pipelines.inference.nodes import score_accounts, validate_scoring_accounts


def create_pipeline() -> Pipeline:
    """champion + scoring accounts -> scores and retention list -> results."""
    return pipeline(
        [
            node(
                validate_scoring_accounts,
                inputs={
                    "scoring_accounts": "scoring_accounts@batches",
                    "champion": "champion@model",
                    "accounts": "params:accounts",
                },
                outputs="valid_scoring_accounts",
                name="validate_scoring_accounts",
            ),
            node(
                score_accounts,
                inputs={
                    "valid_scoring_accounts": "valid_scoring_accounts",
                    "champion": "champion@model",
                    "scoring_fingerprint": "scoring_accounts@fingerprint",
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
