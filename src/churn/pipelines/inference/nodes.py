"""Nodes that score accounts. What they give is lazy: rows pass through when the results are written, a batch at a time."""

from datetime import date
from typing import Any

from churn.batches import Batches, CheckedBatches
from churn.device import check_device
from churn.model import ChurnModel
from churn.parameters import Accounts, Decision, Inference, Profit, Reasons
from churn.scoring import ScoringRun

SUBJECT = "accounts to score"


def validate_scoring_accounts(scoring_accounts: Batches, champion: ChurnModel, accounts: Accounts) -> CheckedBatches:
    """Check that the table fits its roles and the model, and bring it into canonical form."""
    champion.check_fits(accounts)
    return CheckedBatches(scoring_accounts, accounts, champion, SUBJECT)


def score_accounts(
    valid_scoring_accounts: CheckedBatches,
    champion: ChurnModel,
    scoring_fingerprint: dict[str, Any],
    as_of: date,
    inference: Inference,
    profit: Profit,
    decision: Decision,
    reasons: Reasons,
) -> ScoringRun:
    """Scores, the list of accounts to act on, and all that is needed to trace and to monitor them."""
    check_device(inference.device, "inference.device")
    return ScoringRun(
        valid_scoring_accounts,
        champion.use(device=inference.device),
        source=scoring_fingerprint,
        as_of=as_of,
        profit=profit,
        decision=decision,
        reasons=reasons,
    )
