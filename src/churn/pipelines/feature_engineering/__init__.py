"""Pipeline feature_engineering."""

from churn.pipelines.feature_engineering.pipeline import create_pipeline

__all__ = ["create_pipeline"]
