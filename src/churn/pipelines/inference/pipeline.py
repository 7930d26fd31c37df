"""Pipeline inference: score a table of accounts with the champion and publish the results."""

from kedro.pipeline import Pipeline, node, pipeline

from churn.pipelines.inference.nodes import (
    plan_campaign,
    score_accounts,
    select_partitions,
    use_save_rate,
    validate_scoring_accounts,
)


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
                use_save_rate,
                inputs={
                    "profit": "params:profit",
                    "experiment": "params:experiment",
                    "call_effect": "known_call_effect",
                },
                outputs="profit_for_scoring",
                name="use_save_rate",
            ),
            node(
                plan_campaign,
                inputs={
                    "contacts": "contacts",
                    "campaign_accounts": "campaign_accounts",
                    "call_effect": "known_call_effect",
                    "as_of": "as_of",
                    "schema": "params:accounts",
                    "experiment": "params:experiment",
                    "contacts_columns": "params:contacts",
                    "policy": "params:policy",
                    "profit": "profit_for_scoring",
                },
                outputs="campaign_run",
                name="plan_campaign",
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
                    "profit": "profit_for_scoring",
                    "decision": "params:decision",
                    "reasons": "params:reasons",
                    "schema": "params:accounts",
                    "campaign_run": "campaign_run",
                },
                outputs="results@publish",
                name="score_accounts",
            ),
        ]
    )
