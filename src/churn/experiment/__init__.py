"""Does calling help? The group that is not called, what it shows, and how that is used."""

from churn.experiment.contacts import ContactLog, read_contacts
from churn.experiment.learning import call_effect_of
from churn.experiment.measure import measured_campaigns
from churn.experiment.policy import Campaign, campaign_for
from churn.experiment.record import Record, updated_record
from churn.experiment.save_rate import CallEffect, profit_in_use, published_rate
from churn.experiment.uplift import effects_in_use

__all__ = [
    "CallEffect",
    "Campaign",
    "ContactLog",
    "Record",
    "call_effect_of",
    "campaign_for",
    "effects_in_use",
    "measured_campaigns",
    "profit_in_use",
    "published_rate",
    "read_contacts",
    "updated_record",
]
