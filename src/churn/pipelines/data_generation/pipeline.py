"""Pipeline data_generation: training and scoring snapshots, simulated or from an account table of your own."""

from kedro.pipeline import Pipeline, node, pipeline

from churn.pipelines.data_generation.nodes import make_snapshots, simulate_campaign


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


def create_campaign_pipeline() -> Pipeline:
    """Create the pipeline: the last list of simulated accounts -> log of contacts, and outcomes that the calls changed."""
    return pipeline(
        [
            node(
                simulate_campaign,
                inputs={
                    "results": "results@latest",
                    "oracle": "oracle",
                    "schema": "params:accounts",
                    "simulation": "params:simulation",
                },
                outputs=["contacts", "scoring_outcomes@table"],
                name="simulate_campaign",
            ),
        ]
    )
