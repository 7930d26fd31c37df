"""A scoring run: which files of a table it takes, what it makes of each account, and what it publishes."""

from churn.scoring.ledger import CurrentLedger, Ledger, Selection, select
from churn.scoring.publication import Publication, Record, Scores
from churn.scoring.run import scoring_run

__all__ = [
    "CurrentLedger",
    "Ledger",
    "Publication",
    "Record",
    "Scores",
    "Selection",
    "scoring_run",
    "select",
]
