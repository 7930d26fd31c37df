"""Nodes that score accounts."""

import logging
from datetime import date
from typing import Any

import pandas as pd

from churn.accounts import check_accounts
from churn.drift import Profile, count_profile
from churn.errors import AccountsError
from churn.model import ChurnModel
from churn.parameters import Accounts, Decision, Profit, Reasons
from churn.profit import account_values, choose, expected_profit
from churn.publication import Publication
from churn.reasons import explain_accounts, typical_values
from churn.retention_list import retention_list

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


def list_accounts_to_act_on(
    valid_scoring_accounts: pd.DataFrame,
    predictions: pd.DataFrame,
    champion: ChurnModel,
    as_of: date,
    profit: Profit,
    decision: Decision,
    reasons: Reasons,
) -> pd.DataFrame:
    """The accounts in the order in which acting on them pays, each with its reasons."""
    probability = predictions["probability"].to_numpy()
    value = account_values(valid_scoring_accounts, profit)
    typical = typical_values(champion.encoder, champion.reference)
    return retention_list(
        predictions,
        value=value,
        expected_profit=expected_profit(probability, value, profit),
        act=choose(probability, value, profit, decision, champion.threshold),
        reasons=explain_accounts(champion.explain, valid_scoring_accounts, probability, typical, reasons),
        as_of=as_of,
    )


def assemble_publication(
    predictions: pd.DataFrame,
    accounts_to_act_on: pd.DataFrame,
    scoring_profile: Profile,
    champion: ChurnModel,
    scoring_fingerprint: dict[str, Any],
    as_of: date,
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
        as_of=as_of,
        retention_list=accounts_to_act_on,
    )
