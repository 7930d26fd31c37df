"""Pipeline campaign: whether the calls helped, and what is known of the save rate from then on."""

from kedro.pipeline import Pipeline, node, pipeline

from churn.pipelines.campaign.nodes import (
    keep_record,
    learn_from_calls,
    measure_campaigns,
    report_campaigns,
    track_campaigns,
    update_record,
)


def create_pipeline() -> Pipeline:
    """Create the pipeline: results + contacts + outcomes (once they are known) -> record, effect of the calls, report."""
    return pipeline(
        [
            node(
                update_record,
                inputs={
                    "results": "results@latest",
                    "known_campaign_record": "known_campaign_record",
                    "contacts": "contacts",
                    "scoring_outcomes": "scoring_outcomes@batches",
                    "schema": "params:accounts",
                    "contacts_columns": "params:contacts",
                    "experiment": "params:experiment",
                },
                outputs="updated_record",
                name="update_record",
            ),
            node(keep_record, inputs="updated_record", outputs="campaign_record", name="keep_record"),
            node(
                measure_campaigns,
                inputs={
                    "record": "updated_record",
                    "results": "results@latest",
                    "profit": "params:profit",
                    "experiment": "params:experiment",
                },
                outputs="measured_campaigns",
                name="measure_campaigns",
            ),
            node(
                learn_from_calls,
                inputs={
                    "record": "updated_record",
                    "campaign_report": "measured_campaigns",
                    "known_call_effect": "known_call_effect",
                    "profit": "params:profit",
                    "experiment": "params:experiment",
                    "schema": "params:accounts",
                    "feature_engineering": "params:feature_engineering",
                },
                outputs="call_effect",
                name="learn_from_calls",
            ),
            node(
                report_campaigns,
                inputs={"measured": "measured_campaigns", "effect": "call_effect"},
                outputs="campaign_report",
                name="report_campaigns",
            ),
            node(
                track_campaigns,
                inputs={"measured": "measured_campaigns", "effect": "call_effect"},
                outputs="tracked_campaign",
                name="track_campaigns",
            ),
        ]
    )
