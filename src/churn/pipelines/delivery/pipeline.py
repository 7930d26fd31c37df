"""Pipeline delivery: what the targets do not hold yet of the results that were published last."""

from kedro.pipeline import Pipeline, node, pipeline

from churn.pipelines.delivery.nodes import plan_deliveries, track_deliveries


def create_pipeline() -> Pipeline:
    """Create the pipeline: current results -> deliveries to the targets -> numbers of accounts."""
    return pipeline(
        [
            node(
                plan_deliveries,
                inputs={"published": "results@delivery", "delivery": "params:delivery"},
                outputs="deliveries",
                name="plan_deliveries",
            ),
            node(track_deliveries, inputs="deliveries", outputs="tracked_deliveries", name="track_deliveries"),
        ]
    )
