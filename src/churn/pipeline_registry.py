"""The pipelines of the project, by name."""

from kedro.pipeline import Pipeline

from churn.pipelines import campaign, data_generation, delivery, feature_engineering, inference, monitoring, training
from churn.pipelines.boxes import BoxedPipeline, DefaultPipeline


def register_pipelines() -> dict[str, Pipeline]:
    """Return the six pipelines, their sum as the default, and those of campaigns. Each is a box in kedro-viz.

    They are imported by name: Kedro's ``find_pipelines`` may return only the requested ones, which would break the sum.
    """
    pipelines = {
        "data_generation": data_generation.create_pipeline(),
        "feature_engineering": feature_engineering.create_pipeline(),
        "training": training.create_pipeline(),
        "inference": inference.create_pipeline(),
        "monitoring": monitoring.create_pipeline(),
        "delivery": delivery.create_pipeline(),
    }
    boxed = {name: BoxedPipeline.of(made, name) for name, made in pipelines.items()}
    others = {
        "campaign": campaign.create_pipeline(),
        "simulate_campaign": data_generation.create_campaign_pipeline(),
    }
    return {
        **boxed,
        **{name: BoxedPipeline.of(made, name) for name, made in others.items()},
        "__default__": DefaultPipeline(sum(boxed.values(), BoxedPipeline([]))),
    }
