"""Nodes of the pipeline monitoring."""

from typing import Any

from churn.config import AccountSchema, Monitoring
from churn.model import Profile
from churn.monitoring import health_metrics, scored_accounts
from churn.monitoring.health import flat_metrics
from churn.monitoring.outcomes import DatedOutcomes
from churn.scoring import Publication
from churn.tables import Batches


def measure_health(
    results: Publication,
    scoring_outcomes: Batches | None,
    request_outcomes: Batches | None,
    schema: AccountSchema,
    monitoring: Monitoring,
) -> dict[str, Any]:
    """Compare scores with the model's reference, and with the outcomes if they are known."""
    profile, requests = results.profile, results.requests
    outcomes = scoring_outcomes
    if requests is not None:
        outcomes = None if request_outcomes is None else DatedOutcomes(request_outcomes, schema)
    # The label that the training of the model took for stayed.
    schema = schema.taking_for_stayed(profile.get("stayed", ()))
    return health_metrics(
        scored_accounts(results.predictions, outcomes, schema, profile["risk_bands"]),
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
        notes=requests.notes if requests else (),
        to_watch=requests.to_watch if requests else (),
    )


def report_health(health: dict[str, Any]) -> dict[str, Any]:
    """Return the health metrics and the report page, to be saved with the results of the run, or the log of the day."""
    from churn.reporting.health_report import render_health_report

    origin = health["provenance"]
    return {
        "run_id": origin["run_id"],
        "day": origin["as_of"] if origin["run_id"] is None else None,
        "metrics": health,
        "html": render_health_report(health),
    }


def track_health(health: dict[str, Any]) -> dict[str, float]:
    """Return the health metrics by the names that they have in MLflow."""
    return flat_metrics(health)
