"""Pipeline delivery."""

from churn.pipelines.delivery.pipeline import create_pipeline

__all__ = ["create_pipeline"]
