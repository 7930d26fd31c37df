"""The delivery of published results to other systems: databases, webhooks, files and CRMs.

`deliver` compares a published run with the ledger of a target and sends what has changed. What a kind of target does is in a
module of its own: `database` and `postgres`, `webhook`, `files`, `crm`.
"""

from churn.delivery.published import PublishedAccounts, PublishedRun, Run
from churn.delivery.sending import Counts, Deliveries, Outcome, deliver
from churn.delivery.target import Target, TargetError
from churn.delivery.targets import make_target

__all__ = [
    "Counts",
    "Deliveries",
    "Outcome",
    "PublishedAccounts",
    "PublishedRun",
    "Run",
    "Target",
    "TargetError",
    "deliver",
    "make_target",
]
