"""Simulated accounts, or an account table of your own, as training and scoring snapshots."""

from kedro.pipeline import Pipeline, node, pipeline

from churn.pipelines.data_generation.nodes import make_snapshots


def create_pipeline() -> Pipeline:
    """source (if any) -> training accounts, scoring accounts, outcomes, oracle."""
    return pipeline(
        [
            node(
                make_snapshots,
                inputs={
                    "source_accounts": "source_accounts",
                    "schema": "params:accounts",
                    "simulation": "params:simulation",
                    "staging": "params:staging",
                },
                outputs=["training_accounts@table", "scoring_accounts@table", "scoring_outcomes@table", "oracle"],
                name="make_snapshots",
            ),
        ]
    )
