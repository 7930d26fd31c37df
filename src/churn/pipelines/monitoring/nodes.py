"""Nodes of the pipeline monitoring."""

from collections.abc import Callable
from typing import Any

from churn.config import AccountSchema, Monitoring
from churn.experiment import CallEffect
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
    call_effect: CallEffect | None = None,
) -> dict[str, Any]:
    """Compare scores with the model's reference, and with the outcomes if they are known."""
    profile, requests = results.profile, results.requests
    outcomes = scoring_outcomes
    if requests is not None:
        outcomes = None if request_outcomes is None else DatedOutcomes(request_outcomes, schema)
    # The label that the training of the model took for stayed.
    schema = schema.taking_for_stayed(profile.get("stayed", ()))
    health = health_metrics(
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
            "model_run_id": results.model["run_id"],
            "as_of": results.as_of.isoformat() if results.as_of else None,
            "input": results.source["name"],
        },
        notes=requests.notes if requests else (),
        to_watch=requests.to_watch if requests else (),
    )
    # For the page: the two numbers of the retention list in words, and what the campaigns have shown.
    more: dict[str, Any] = {"explained": dict(results.explained)} if results.explained else {}
    if call_effect is not None:
        more["calls"] = {"sentence": call_effect.verdict, **call_effect.summary}
    return {**health, **more}


def report_health(health: dict[str, Any], model_cards: Callable[[str | None], str | None]) -> dict[str, Any]:
    """Return health metrics, page and the card of the model, to be saved with the results of a run, or with a day of requests."""
    from churn.reporting.health_report import render_health_report

    origin = health["provenance"]
    card = model_cards(origin["model_run_id"])
    return {
        "run_id": origin["run_id"],
        "day": origin["as_of"] if origin["run_id"] is None else None,
        "metrics": health,
        "html": render_health_report(health, card="model_card.html" if card else None),
        "card": card,
    }


def track_health(health: dict[str, Any]) -> dict[str, float]:
    """Return the health metrics by the names that they have in MLflow."""
    return flat_metrics(health)
