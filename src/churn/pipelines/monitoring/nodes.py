"""Nodes of the pipeline monitoring."""

from collections.abc import Callable
from typing import Any

from churn.config import AccountSchema, Monitoring
from churn.model import Profile
from churn.monitoring import health_metrics, scored_accounts
from churn.monitoring.health import flat_metrics
from churn.scoring import Publication
from churn.tables import Batches


def measure_health(
    results: Publication, scoring_outcomes: Batches | None, schema: AccountSchema, monitoring: Monitoring
) -> dict[str, Any]:
    """Compare the current results with the model's reference, and with the outcomes if they are known."""
    profile = results.profile
    # The label that the training of the model took for stayed.
    schema = schema.taking_for_stayed(profile.get("stayed", ()))
    return health_metrics(
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
            "model_run_id": results.model["run_id"],
            "as_of": results.as_of.isoformat() if results.as_of else None,
            "input": results.source["name"],
        },
    )


def report_health(health: dict[str, Any], model_cards: Callable[[str | None], str | None]) -> dict[str, Any]:
    """Return the health metrics, the report page and the model's card, to be saved with the results of the run."""
    from churn.reporting.health_report import render_health_report

    card = model_cards(health["provenance"]["model_run_id"])
    page = render_health_report(health, card="model_card.html" if card else None)
    return {"run_id": health["provenance"]["run_id"], "metrics": health, "html": page, "card": card}


def track_health(health: dict[str, Any]) -> dict[str, float]:
    """Return the health metrics by the names that they have in MLflow."""
    return flat_metrics(health)
