"""Pipeline monitoring: the health of the scores that were published last, or of a day of logged requests."""

from kedro.pipeline import Pipeline, node, pipeline

from churn.pipelines.monitoring.nodes import measure_health, report_health, track_health


def create_pipeline() -> Pipeline:
    """Create the pipeline: results, or requests, + outcomes (once they are known) -> health metrics, report."""
    return pipeline(
        [
            node(
                measure_health,
                inputs={
                    "results": "results@monitored",
                    "scoring_outcomes": "scoring_outcomes@batches",
                    "request_outcomes": "request_outcomes",
                    "schema": "params:accounts",
                    "monitoring": "params:monitoring",
                    "call_effect": "known_call_effect",
                },
                outputs="health",
                name="measure_health",
            ),
            node(report_health, inputs=["health", "model_cards"], outputs="health_report", name="report_health"),
            node(track_health, inputs="health", outputs="tracked_health", name="track_health"),
        ]
    )
