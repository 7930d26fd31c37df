"""Nodes that score accounts."""

import logging
from typing import Any

import pandas as pd

from churn.accounts import check_accounts
from churn.drift import Profile, count_profile
from churn.errors import AccountsError
from churn.model import ChurnModel
from churn.parameters import Accounts, Inference
from churn.publication import Publication

logger = logging.getLogger(__name__)

SUBJECT = "accounts to score"


def validate_scoring_accounts(scoring_accounts: pd.DataFrame, champion: ChurnModel, accounts: Accounts) -> pd.DataFrame:
    """Check that the table fits its roles and the model, and bring it into canonical form."""
    champion.check_fits(accounts)
    checked = check_accounts(scoring_accounts, accounts, subject=SUBJECT, labelled=False)
    faults = champion.unseen_faults(checked.accounts)
    if faults:
        raise AccountsError(SUBJECT, faults)
    for note in checked.notes:
        logger.warning(note)
    return checked.accounts


def score_accounts(valid_scoring_accounts: pd.DataFrame, champion: ChurnModel) -> pd.DataFrame:
    """Probability, prediction and risk band of each account."""
    return champion.score(valid_scoring_accounts)


def profile_scored_accounts(
    valid_scoring_accounts: pd.DataFrame, predictions: pd.DataFrame, champion: ChurnModel
) -> Profile:
    """Count the scored rows in the bins of the model's reference profile."""
    return count_profile(champion.reference, valid_scoring_accounts, predictions["probability"].to_numpy())


def assemble_publication(
    predictions: pd.DataFrame,
    scoring_profile: Profile,
    champion: ChurnModel,
    scoring_fingerprint: dict[str, Any],
    inference: Inference,
) -> Publication:
    """Put together what is published: the scores, and all that is needed to trace and to monitor them."""
    source = champion.source
    return Publication(
        predictions=predictions,
        profile={
            "reference": champion.reference.to_dict(),
            "scored": scoring_profile.to_dict(),
            "performance": dict(champion.performance),
            "importance": dict(champion.importance),
            "threshold": champion.threshold,
            "risk_bands": [band.name for band in champion.risk_bands],
        },
        model={
            "uri": source.uri if source else None,
            "version": champion.version,
            "sha256": champion.sha256,
            "run_id": source.run_id if source else None,
        },
        source={**scoring_fingerprint, "rows": len(predictions)},
        as_of=inference.as_of,
    )
