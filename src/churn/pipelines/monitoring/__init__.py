"""Pipeline monitoring."""

from churn.pipelines.monitoring.pipeline import create_pipeline

__all__ = ["create_pipeline"]
