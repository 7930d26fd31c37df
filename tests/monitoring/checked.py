"""Scored accounts, with and without outcomes, and the health report of them."""

from typing import Any

import numpy as np
import pandas as pd

from churn.config import AccountSchema, Monitoring
from churn.model import Profile
from churn.model.profile import count_profile, fit_profile, fit_score_profile
from churn.monitoring import health_metrics, scored_accounts
from churn.tables import FrameTable
from tests.conftest import InMemory

BANDS = ("low", "medium", "high")
AT_TRAINING = {"roc_auc": 0.75, "calibration_error": 0.01}


def accounts(rows: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "active_users_count": rng.integers(1, 151, rows),
            "payments_ratio": pd.Series(rng.normal(0, 1, rows)).mask(rng.random(rows) < 0.05),
            "operating_country": pd.Series(rng.choice(["ca", "us", "uk"], rows), dtype="str"),
        }
    )
    return frame, rng.beta(1, 4, rows)


def predict(probability: Any, model_version: str = "3") -> pd.DataFrame:
    scores = np.asarray(probability, dtype=np.float64)
    return pd.DataFrame(
        {
            "account_id": pd.Series([f"account-{number}" for number in range(len(scores))], dtype="str"),
            "probability": scores,
            "prediction": (scores >= 0.5).astype(int),
            "risk_band": pd.Series(np.select([scores >= 0.5, scores >= 0.2], ["high", "medium"], "low"), dtype="str"),
            "model_version": model_version,
        }
    )


def outcomes_of(predictions: pd.DataFrame, churned: Any) -> pd.DataFrame:
    return pd.DataFrame({"account_id": predictions["account_id"], "is_churned": churned})


TRAINING, HELD_OUT = accounts(5000, seed=1)
REFERENCE = fit_profile(TRAINING, ["active_users_count", "payments_ratio"], ["operating_country"]).with_score(
    fit_score_profile(HELD_OUT)
)


def roles_of(outcomes: pd.DataFrame | None) -> AccountSchema:
    """Labels are True and False, or 1 and 0."""
    values = [] if outcomes is None else outcomes["is_churned"].dropna().tolist()
    label = {"column": "is_churned", "positive": "True" if any(value is True for value in values) else "1"}
    return AccountSchema.model_validate({"id": "account_id", "label": label, "categorical": ["operating_country"]})


def check(
    probability: Any,
    frame: pd.DataFrame | None = None,
    churned: Any = None,
    reference: Profile = REFERENCE,
    **options: Any,
) -> dict[str, Any]:
    """The health of scores, by default of accounts like those at training."""
    scores = np.asarray(probability, dtype=np.float64)
    predictions = options.pop("predictions", None)
    predictions = predict(scores) if predictions is None else predictions
    table = accounts(len(scores), seed=2)[0] if frame is None else frame
    outcomes = options.pop("outcomes", None if churned is None else outcomes_of(predictions, churned))
    bands = options.pop("bands", BANDS)
    given: dict[str, Any] = {
        "bands": bands,
        "reference": reference,
        "analysis": count_profile(reference, table, scores),
        "reference_performance": AT_TRAINING,
        "importance": {"payments_ratio": 0.1, "active_users_count": 0.3},
        "threshold": 0.5,
        "limits": Monitoring(),
        "provenance": {"run_id": "r-1", "model_version": "3"},
    }
    rows = scored_accounts(
        FrameTable(predictions), None if outcomes is None else InMemory(outcomes), roles_of(outcomes), bands
    )
    return health_metrics(rows, **(given | options))


def scored(rows: int = 3000, seed: int = 2) -> tuple[pd.DataFrame, np.ndarray]:
    return accounts(rows, seed)
