"""Pipeline data_generation: training and scoring snapshots, simulated or from an account table of your own."""

from kedro.pipeline import Pipeline, node, pipeline

from churn.pipelines.data_generation.nodes import make_snapshots


def create_pipeline() -> Pipeline:
    """Create the pipeline: source accounts (optional) -> training accounts, scoring accounts, outcomes, oracle."""
    return pipeline(
        [
            node(
                make_snapshots,
                inputs={
                    "source_accounts": "source_accounts",
                    "schema": "params:accounts",
                    "simulation": "params:simulation",
                    "staging": "params:staging",
                    "feature_engineering": "params:feature_engineering",
                },
                outputs=["training_accounts@table", "scoring_accounts@table", "scoring_outcomes@table", "oracle"],
                name="make_snapshots",
            ),
        ]
    )
