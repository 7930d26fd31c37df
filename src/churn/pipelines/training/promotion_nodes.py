"""Nodes of the pipeline training that decide whether the new model becomes the champion."""

from typing import Any

import pandas as pd

from churn.config import AccountSchema, FeatureEngineering, Profit, Promotion, Training
from churn.model import ChurnModel
from churn.registry.fingerprint import Fingerprint, fingerprint_of_training
from churn.retention import account_values
from churn.tables.split import Split
from churn.training import decide, leakage
from churn.training.challenge import Challenge, challenge
from churn.training.promotion import PromotionDecision


def challenge_champion(
    churn_model: ChurnModel,
    reigning_champion: ChurnModel | None,
    reigning_version: str | None,
    test_accounts: pd.DataFrame,
    training_split: dict[str, Any],
    latency_ms: float,
    schema: AccountSchema,
    training: Training,
    promotion: Promotion,
    profit: Profit,
) -> Challenge:
    """Score the test rows with champion and challenger, and find those that neither was trained on: the input of the gates."""
    return challenge(
        churn_model,
        reigning_champion,
        reigning_version,
        test_accounts,
        Split.from_dict(training_split),
        value=account_values(test_accounts, profit),
        leaks=leakage.find_leaks(test_accounts, schema, training.leakage),
        latency_ms=latency_ms,
        promotion=promotion,
    )


def fingerprint_training(
    churn_model: ChurnModel,
    training_source: dict[str, Any],
    schema: AccountSchema,
    feature_engineering: FeatureEngineering,
    training: Training,
) -> dict[str, Any]:
    """Compute the fingerprint of the training: its data, parameters, code and packages."""
    made_of = fingerprint_of_training(training_source, schema, feature_engineering, training)
    return {"model_sha256": churn_model.sha256, "made_of": made_of.model_dump(mode="json")}


def decide_promotion(
    challenge: Challenge,
    churn_model: ChurnModel,
    training_fingerprint: dict[str, Any],
    promotion: Promotion,
    profit: Profit,
) -> PromotionDecision:
    """Decide whether the challenger becomes the champion; return the result of every gate and the reason."""
    made_of = Fingerprint.model_validate(training_fingerprint["made_of"])
    return decide(challenge, promotion, profit).about(churn_model.sha256, made_of.sha256)


def promote_champion(proposed_promotion: PromotionDecision) -> PromotionDecision:
    """Pass the decision to the registry."""
    return proposed_promotion


def note_promotion(done: PromotionDecision) -> dict[str, Any]:
    """Return the decision as the registry carried it out, as plain JSON types."""
    return done.to_dict()
