"""Pipeline campaign."""

from churn.pipelines.campaign.pipeline import create_pipeline

__all__ = ["create_pipeline"]
