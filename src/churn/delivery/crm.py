"""Salesforce and HubSpot, by their documented requests that create or update records by an external id.

Both are thin: an account is a record, a column is a field of it, and the answer tells of each record whether it was taken.
Sending a record again changes nothing, so they need no key. An account that is no longer delivered has its field `REMOVED` set.

- Salesforce: PATCH /services/data/vXX.X/composite/sobjects/<object>/<field> (REST API Developer Guide, "Upsert multiple records
  with fewer round-trips").
- HubSpot: POST /crm/v3/objects/<object>/batch/upsert (CRM API, "Create or update a batch of objects by unique property values").
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from churn.config import HubspotTarget, SalesforceTarget
from churn.delivery.columns import REMOVED, Fields
from churn.delivery.content import Batch, plain_rows
from churn.delivery.http_client import Answer
from churn.delivery.http_target import Api, OverHttp
from churn.delivery.local_ledger import Pending
from churn.delivery.target import Occasion, TargetError


class _CrmApi(Api):
    def __init__(self, url: str, token: str) -> None:
        self._url, self._token = url, token

    def key(self, body: bytes) -> str:
        """Return the hash of the content."""
        return hashlib.sha256(body).hexdigest()

    def headers(self, pending: Pending) -> Mapping[str, str]:
        """Return the token and the type of the content."""
        return {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}


class SalesforceApi(_CrmApi):
    """Records of an sObject."""

    def __init__(self, settings: SalesforceTarget, url: str, token: str) -> None:
        """Set the object, the address of the organisation and the token."""
        super().__init__(url, token)
        self._settings = settings

    def body(self, batch: Batch, fields: Fields, occasion: Occasion, *, removed: bool) -> bytes:
        """Return the records, each of which is taken or rejected by itself."""
        records = []
        for row in plain_rows(batch.rows):
            account = row.pop(fields.id.name)
            kind = {"type": self._settings.object}
            records.append({"attributes": kind, self._settings.external_id: str(account), **row})
        return json.dumps({"allOrNone": False, "records": records}, ensure_ascii=False).encode()

    def request(self, pending: Pending) -> tuple[str, str]:
        """Return method and address."""
        known = self._settings
        place = f"services/data/v{known.version}/composite/sobjects/{known.object}/{known.external_id}"
        return "PATCH", f"{self._url}/{place}"

    def rejected(self, answer: Answer, ids: Sequence[str]) -> dict[str, str]:
        """Return the errors of the records, which are in the order of the request."""
        content: Any = answer.json()
        if not isinstance(content, list) or len(content) != len(ids):
            if answer.status >= 300:
                return {}
            raise TargetError(f"its answer does not tell which records it has taken: {answer.words}")
        return {
            account: "; ".join(
                f"{error.get('statusCode')}: {error.get('message')}" for error in each.get("errors") or [{}]
            )
            for account, each in zip(ids, content, strict=True)
            if isinstance(each, dict) and not each.get("success")
        }


class HubspotApi(_CrmApi):
    """Records of HubSpot."""

    def __init__(self, settings: HubspotTarget, url: str, token: str) -> None:
        """Set the type of the records, the address and the token."""
        super().__init__(url, token)
        self._settings = settings

    def body(self, batch: Batch, fields: Fields, occasion: Occasion, *, removed: bool) -> bytes:
        """Return the records; HubSpot takes all values as text, and an empty one clears a property."""
        inputs = []
        for row in plain_rows(batch.rows):
            account = str(row.pop(fields.id.name))
            properties = {name: _as_text(value) for name, value in row.items()}
            inputs.append({"idProperty": self._settings.id_property, "id": account, "properties": properties})
        return json.dumps({"inputs": inputs}, ensure_ascii=False).encode()

    def request(self, pending: Pending) -> tuple[str, str]:
        """Return method and address."""
        return "POST", f"{self._url}/crm/v3/objects/{self._settings.object}/batch/upsert"

    def rejected(self, answer: Answer, ids: Sequence[str]) -> dict[str, str]:
        """Return the errors, which name the ids in their context."""
        content: Any = answer.json()
        errors = content.get("errors") if isinstance(content, dict) else None
        found: dict[str, str] = {}
        for error in errors or []:
            context = error.get("context") or {}
            named = [str(each) for each in (context.get("ids") or context.get("id") or [])]
            found |= {each: str(error.get("message")) for each in named if each in ids}
        if errors and not found and answer.status < 300:
            raise TargetError(f"its answer does not tell which records it has rejected: {answer.words}")
        return found


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


class _Crm(OverHttp):
    flagged = True

    def faults(self) -> list[str]:
        """Return what is wrong with credentials and parameters."""
        found = super().faults()
        if self.settings.columns and all(column.source != REMOVED for column in self.settings.columns):
            found.append(f"columns has none with the source {REMOVED}, so it cannot be told who is no longer delivered")
        return found


class Salesforce(_Crm):
    """Salesforce."""

    def api(self) -> Api:
        """Return how it wants its batches."""
        return SalesforceApi(cast("SalesforceTarget", self.settings), self.address, str(self._credentials["token"]))


class Hubspot(_Crm):
    """HubSpot."""

    default_address = "https://api.hubapi.com"

    def api(self) -> Api:
        """Return how it wants its batches."""
        return HubspotApi(cast("HubspotTarget", self.settings), self.address, str(self._credentials["token"]))
