"""Nodes of the pipeline monitoring."""

from typing import Any

from churn.config import AccountSchema, Monitoring
from churn.experiment import CallEffect
from churn.model import Profile
from churn.monitoring import health_metrics, scored_accounts
from churn.monitoring.health import flat_metrics
from churn.scoring import Publication
from churn.tables import Batches


def measure_health(
    results: Publication,
    scoring_outcomes: Batches | None,
    schema: AccountSchema,
    monitoring: Monitoring,
    call_effect: CallEffect | None,
) -> dict[str, Any]:
    """Compare the current results with the model's reference, and with the outcomes if they are known."""
    profile = results.profile
    # The label that the training of the model took for stayed.
    schema = schema.taking_for_stayed(profile.get("stayed", ()))
    health = health_metrics(
        scored_accounts(results.predictions, scoring_outcomes, schema, profile["risk_bands"]),
        bands=profile["risk_bands"],
        reference=Profile.from_dict(profile["reference"]),
        analysis=Profile.from_dict(profile["scored"]),
        reference_performance=profile["performance"],
        importance=profile["importance"],
        threshold=profile["threshold"],
        limits=monitoring,
        provenance={
            "run_id": results.run_id,
            "model_version": results.model["version"],
            "as_of": results.as_of.isoformat() if results.as_of else None,
            "input": results.source["name"],
        },
    )
    # What the campaigns have shown, for the page; no figure of health depends on it.
    return (
        health if call_effect is None else {**health, "calls": {"sentence": call_effect.verdict, **call_effect.summary}}
    )


def report_health(health: dict[str, Any]) -> dict[str, Any]:
    """Return the health metrics and the report page, to be saved with the results of the run."""
    from churn.reporting.health_report import render_health_report

    return {"run_id": health["provenance"]["run_id"], "metrics": health, "html": render_health_report(health)}


def track_health(health: dict[str, Any]) -> dict[str, float]:
    """Return the health metrics by the names that they have in MLflow."""
    return flat_metrics(health)
