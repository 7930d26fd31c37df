"""The two numbers of a scoring run in words: accounts at risk, and accounts to act on."""

from typing import NamedTuple

from churn.config import Decision
from churn.retention.wording import amount_text, number_text


class TwoNumbers(NamedTuple):
    """A sentence for each number, without a full stop.

    Attributes:
        at_risk: What makes an account one at risk.
        to_act_on: What makes an account one to act on.
    """

    at_risk: str
    to_act_on: str


def two_numbers(at_risk: int, to_act_on: int, threshold: float, decision: Decision, currency: str | None) -> TwoNumbers:
    """Explain the numbers of accounts at risk and to act on.

    Args:
        at_risk: Number of accounts whose probability is at or above the threshold.
        to_act_on: Number of accounts to act on.
        threshold: Probability from which churn is predicted.
        decision: The rule for the accounts to act on.
        currency: Currency of amounts, if it is known.
    """
    share = f"{number_text(100 * threshold, 1)} %"
    risk = f"{_accounts(at_risk)} at risk: their probability of churn is {share} or more"
    act = f"{_accounts(to_act_on)} to act on: "
    if decision.rule == "threshold":
        act += "those at risk, whatever a contact costs"
    else:
        act += f"a contact is expected to bring more than it costs, for which a probability below {share} can be enough"
    if decision.minimum_gain > 0:
        act += f", and {amount_text(decision.minimum_gain, currency)} at least"
    if decision.rule == "capacity":
        each = f" for each {decision.capacity_by}" if decision.capacity_by else ""
        act += f"; the best {decision.capacity:,}{each}"
    return TwoNumbers(risk, act)


def _accounts(number: int) -> str:
    return f"{number:,} account{'' if number == 1 else 's'}"
