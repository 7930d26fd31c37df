"""Pipeline data_generation."""

from churn.pipelines.data_generation.pipeline import create_campaign_pipeline, create_pipeline

__all__ = ["create_campaign_pipeline", "create_pipeline"]
