"""The kinds of targets."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from churn.config import DeliveryTarget, FilesTarget, HubspotTarget, SalesforceTarget, SqlTarget, WebhookTarget
from churn.delivery.crm import Hubspot, Salesforce
from churn.delivery.database import Database
from churn.delivery.files import Files
from churn.delivery.target import Target
from churn.delivery.webhook import Webhook

KINDS: dict[type[DeliveryTarget], type[Target]] = {
    SqlTarget: Database,
    FilesTarget: Files,
    WebhookTarget: Webhook,
    SalesforceTarget: Salesforce,
    HubspotTarget: Hubspot,
}


def make_target(settings: DeliveryTarget, credentials: Mapping[str, Any], folder: Path) -> Target:
    """Return a target; no connection is made.

    Args:
        settings: Its parameters.
        credentials: The entry ``delivery`` of ``credentials.yml``: one entry for each target by its name.
        folder: Folder for state on this machine.
    """
    entry = credentials.get(settings.name)
    return KINDS[type(settings)](settings, entry if isinstance(entry, Mapping) else {}, folder)
