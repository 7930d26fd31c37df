"""The retention list: expected profit, decision rule and reasons."""

from churn.retention.list import retention_list
from churn.retention.profit import account_values, expected_profit
from churn.retention.reasons import explain_accounts

__all__ = [
    "account_values",
    "expected_profit",
    "explain_accounts",
    "retention_list",
]
