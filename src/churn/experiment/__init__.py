"""Does calling help? The group that is not called, what it shows, and how that is used."""

from churn.experiment.contacts import ContactLog, read_contacts
from churn.experiment.policy import Campaign, campaign_for
from churn.experiment.save_rate import CallEffect, profit_in_use, published_rate
from churn.experiment.uplift import effects_in_use

__all__ = [
    "CallEffect",
    "Campaign",
    "ContactLog",
    "campaign_for",
    "effects_in_use",
    "profit_in_use",
    "published_rate",
    "read_contacts",
]
