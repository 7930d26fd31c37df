"""A webhook: signed POSTs of JSON, in the form of Standard Webhooks (https://www.standardwebhooks.com)."""

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from churn.delivery.columns import REMOVED, Fields
from churn.delivery.content import Batch, plain_rows
from churn.delivery.http_client import Answer
from churn.delivery.http_target import Api, OverHttp
from churn.delivery.local_ledger import Pending
from churn.delivery.target import Occasion

_PREFIX = "whsec_"
# Bytes of the shortest key.
SHORTEST = 16


def key_of(secret: str) -> bytes:
    """Return the bytes of a key: behind ``whsec_`` in base64, else as they are written.

    Raises:
        ValueError: If it is not base64.
    """
    if not secret.startswith(_PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError("it begins with whsec_ and is not base64") from error


def signature(secret: str, message: str, timestamp: int, body: bytes) -> str:
    """Return the signature of a message: ``v1,`` and HMAC-SHA256 of ``message.timestamp.body`` in base64."""
    signed = f"{message}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key_of(secret), signed, hashlib.sha256).digest()).decode()


class WebhookApi(Api):
    """POSTs of accounts to one address."""

    def __init__(self, name: str, url: str, secrets: Sequence[str]) -> None:
        """Set the name of the target, its address and its keys, each of which signs."""
        self._name, self._url, self._secrets = name, url, secrets

    def body(self, batch: Batch, fields: Fields, occasion: Occasion, *, removed: bool) -> bytes:
        """Return the accounts and what is common to them."""
        removal = fields.removed.name if fields.removed else REMOVED
        accounts = plain_rows(batch.rows)
        if removed:
            accounts = [{fields.id.name: each[fields.id.name], removal: True} for each in accounts]
        content = {
            "type": "accounts.removed" if removed else "accounts.scored",
            "timestamp": occasion.at.isoformat(),
            "data": {
                "target": self._name,
                "run_id": occasion.run.run_id,
                "as_of": occasion.run.as_of,
                "accounts": accounts,
            },
        }
        return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()

    def key(self, body: bytes) -> str:
        """Return the hash of the content, which names the run and the time of the delivery."""
        return f"msg_{hashlib.sha256(body).hexdigest()}"

    def request(self, pending: Pending) -> tuple[str, str]:
        """Return method and address."""
        return "POST", self._url

    def headers(self, pending: Pending) -> Mapping[str, str]:
        """Return key, time and signature."""
        now = int(time.time())
        return {
            "Content-Type": "application/json",
            "Idempotency-Key": pending.key,
            "webhook-id": pending.key,
            "webhook-timestamp": str(now),
            "webhook-signature": " ".join(
                signature(secret, pending.key, now, pending.body) for secret in self._secrets
            ),
        }

    def rejected(self, answer: Answer, ids: Sequence[str]) -> dict[str, str]:
        """Return what ``{"rejected": [{"id": ..., "reason": ...}]}`` lists; anything else rejects nothing."""
        content = answer.json()
        listed: Any = content.get("rejected") if isinstance(content, dict) else None
        if not isinstance(listed, list):
            return {}
        known = set(ids)
        return {
            str(each["id"]): str(each.get("reason") or "no reason was given")
            for each in listed
            if isinstance(each, dict) and str(each.get("id")) in known
        }


class Webhook(OverHttp):
    """A webhook."""

    address_name, needed = "webhook", ("secret",)

    @property
    def address(self) -> str:
        """Its address, as it is written: a slash at the end may matter."""
        return str(self._credentials.get(self.address_name) or "").strip()

    @property
    def _secrets(self) -> list[str]:
        given = self._credentials.get("secret") or []
        return [str(each) for each in given if each] if isinstance(given, list | tuple) else [str(given)]

    def faults(self) -> list[str]:
        """Return what is wrong with credentials and parameters."""
        found = super().faults()
        for secret in self._secrets:
            place = f"credentials.yml: delivery.{self.settings.name}.secret"
            try:
                if len(key_of(secret)) < SHORTEST:
                    found.append(f"{place} has fewer than {SHORTEST} bytes, so its signatures could be forged")
            except ValueError as error:
                found.append(f"{place}: {error}")
        return found

    def api(self) -> Api:
        """Return how it wants its batches."""
        return WebhookApi(self.settings.name, self.address, self._secrets)
