"""Monitoring of published scores: drift, realised performance, and the health verdict."""

from churn.monitoring.drift import compare_profiles
from churn.monitoring.health import health_metrics
from churn.monitoring.outcomes import ScoredAccounts, scored_accounts

__all__ = [
    "ScoredAccounts",
    "compare_profiles",
    "health_metrics",
    "scored_accounts",
]
