"""Pipeline training."""

from churn.pipelines.training.pipeline import create_pipeline

__all__ = ["create_pipeline"]
