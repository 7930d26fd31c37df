"""A scoring run: the files to score, and the results to publish."""

from churn.scoring.campaign import CampaignRun
from churn.scoring.ledger import CurrentLedger, Ledger, Selection, select
from churn.scoring.publication import ListFacts, Publication, Record, Scores
from churn.scoring.run import scoring_run

__all__ = [
    "CampaignRun",
    "CurrentLedger",
    "Ledger",
    "ListFacts",
    "Publication",
    "Record",
    "Scores",
    "Selection",
    "scoring_run",
    "select",
]
