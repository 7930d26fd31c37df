"""Pipeline data_generation."""

from churn.pipelines.data_generation.pipeline import create_pipeline

__all__ = ["create_pipeline"]
