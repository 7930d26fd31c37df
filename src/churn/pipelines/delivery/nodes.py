"""Nodes of the pipeline delivery. The first is lazy: what it returns is sent when it is saved."""

from typing import Any

from churn.config import Delivery
from churn.delivery import Deliveries, PublishedRun


def plan_deliveries(published: PublishedRun, delivery: Delivery) -> Deliveries:
    """Return what is to be delivered: the current run, to each target."""
    return Deliveries(published, delivery)


def track_deliveries(deliveries: list[dict[str, Any]]) -> dict[str, float]:
    """Return the numbers of accounts by target, by the names that they have in MLflow."""
    return {
        f"{outcome['target']}.{name}": float(count)
        for outcome in deliveries
        if outcome["status"] == "delivered"
        for name, count in outcome["counts"].items()
    }
