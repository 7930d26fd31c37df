"""Look at an account table before any training: what its columns are, and what a person should know about them."""

from churn.survey.answers import Answers
from churn.survey.columns import ColumnFacts, facts_of
from churn.survey.proposal import Proposal, propose

__all__ = ["Answers", "ColumnFacts", "Proposal", "facts_of", "propose"]
