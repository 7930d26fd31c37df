"""The pipelines of the project, by name."""

from kedro.pipeline import Pipeline

from churn.pipelines import data_generation, feature_engineering, inference, monitoring, training


def register_pipelines() -> dict[str, Pipeline]:
    """The five pipelines, and all of them in one go as the default.

    They are imported by name: Kedro's search for pipelines finds only the requested ones, which would break the sum.
    """
    pipelines = {
        "data_generation": data_generation.create_pipeline(),
        "feature_engineering": feature_engineering.create_pipeline(),
        "training": training.create_pipeline(),
        "inference": inference.create_pipeline(),
        "monitoring": monitoring.create_pipeline(),
    }
    return {**pipelines, "__default__": sum(pipelines.values(), Pipeline([]))}
