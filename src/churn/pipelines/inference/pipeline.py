"""From the champion and a table of accounts to published scores."""

from kedro.pipeline import Pipeline, node, pipeline

from churn.pipelines.inference.nodes import (
    assemble_publication,
    list_accounts_to_act_on,
    profile_scored_accounts,
    score_accounts,
    validate_scoring_accounts,
)


def create_pipeline() -> Pipeline:
    """champion + scoring accounts -> predictions -> retention list -> results."""
    return pipeline(
        [
            node(
                validate_scoring_accounts,
                inputs={
                    "scoring_accounts": "scoring_accounts@table",
                    "champion": "champion@model",
                    "accounts": "params:accounts",
                },
                outputs="valid_scoring_accounts",
                name="validate_scoring_accounts",
            ),
            node(
                score_accounts,
                inputs=["valid_scoring_accounts", "champion@model"],
                outputs="predictions",
                name="score_accounts",
            ),
            node(
                profile_scored_accounts,
                inputs={
                    "valid_scoring_accounts": "valid_scoring_accounts",
                    "predictions": "predictions",
                    "champion": "champion@model",
                },
                outputs="scoring_profile",
                name="profile_scored_accounts",
            ),
            node(
                list_accounts_to_act_on,
                inputs={
                    "valid_scoring_accounts": "valid_scoring_accounts",
                    "predictions": "predictions",
                    "champion": "champion@model",
                    "as_of": "as_of",
                    "profit": "params:profit",
                    "decision": "params:decision",
                    "reasons": "params:reasons",
                },
                outputs="accounts_to_act_on",
                name="list_accounts_to_act_on",
            ),
            node(
                assemble_publication,
                inputs={
                    "predictions": "predictions",
                    "accounts_to_act_on": "accounts_to_act_on",
                    "scoring_profile": "scoring_profile",
                    "champion": "champion@model",
                    "scoring_fingerprint": "scoring_accounts@fingerprint",
                    "as_of": "as_of",
                },
                outputs="results@publish",
                name="assemble_publication",
            ),
        ]
    )
