"""Targets over HTTP: batches that are noted, sent and settled one after the other.

A batch on its way is noted in the ledger with its bytes and its key. If the process is killed or no answer comes, the next
delivery sends the same bytes under the same key before anything else, so that a target that has them takes them once.
"""

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

from churn.config import HttpTarget
from churn.config.secrets import is_loopback
from churn.delivery.columns import Fields
from churn.delivery.content import Batch, Held
from churn.delivery.http_client import Answer, HttpClient
from churn.delivery.local_ledger import LocalLedger, Pending
from churn.delivery.target import Occasion, Rejects, Session, State, Target, TargetError

logger = logging.getLogger(__name__)

TOO_LARGE, INVALID = 413, (400, 422)


class Api(ABC):
    """How a target wants its batches."""

    @abstractmethod
    def body(self, batch: Batch, fields: Fields, occasion: Occasion, *, removed: bool) -> bytes:
        """Return the content of a request."""

    @abstractmethod
    def request(self, pending: Pending) -> tuple[str, str]:
        """Return method and address of the request for a batch."""

    @abstractmethod
    def headers(self, pending: Pending) -> Mapping[str, str]:
        """Return the headers of an attempt, except for those of the content."""

    @abstractmethod
    def key(self, body: bytes) -> str:
        """Return the key of a batch, which depends on its content alone."""

    @abstractmethod
    def rejected(self, answer: Answer, ids: Sequence[str]) -> dict[str, str]:
        """Return the words of the target for each account that it has rejected, by id.

        Raises:
            TargetError: If the answer is none of this interface, so that nobody knows what was taken.
        """


class HttpSession(Session):
    """A delivery over HTTP."""

    def __init__(self, api: Api, client: HttpClient, ledger: LocalLedger, fields: Fields, rejects: Rejects) -> None:
        self._api, self._client, self._ledger = api, client, ledger
        self._fields, self._rejects = fields, rejects
        self._occasion: Occasion | None = None

    @property
    def state(self) -> State:
        """What is known of the target."""
        return self._ledger.state

    def begin(self, occasion: Occasion) -> None:
        """Begin a delivery, and finish the batch that an earlier one has left."""
        self._occasion = occasion
        self._ledger.begin(occasion)
        if (pending := self._ledger.pending()) is not None:
            logger.info("%s accounts were on their way and are sent again under the same key", f"{len(pending.ids):,}")
            self._send(pending)

    def held(self) -> Held:
        """Return what the target holds."""
        return self._ledger.held()

    def upsert(self, batch: Batch) -> None:
        """Send new and changed accounts."""
        self._send_batch(batch, removed=False)

    def remove(self, batch: Batch) -> None:
        """Tell which accounts are no longer delivered."""
        self._send_batch(batch, removed=True)

    def _send_batch(self, batch: Batch, *, removed: bool) -> None:
        assert self._occasion is not None  # noqa: S101, set by begin
        body = self._api.body(batch, self._fields, self._occasion, removed=removed)
        pending = self._ledger.prepare(self._api.key(body), body, batch, removed=removed)
        if (left_out := self._send(pending)) is None:
            half = max(1, len(batch) // 2)
            for part in (batch.part(0, half), batch.part(half, len(batch) - half)):
                self._send_batch(part, removed=removed)
        elif left_out and len(left_out) < len(batch):
            import pyarrow as pa
            import pyarrow.compute as pc

            kept = pc.invert(pc.is_in(batch.held.ids, value_set=pa.array(sorted(left_out))))
            mask = kept.to_numpy(zero_copy_only=False)
            held = Held(batch.held.ids.filter(kept), batch.held.content[mask], batch.held.score[mask])
            self._send_batch(Batch(batch.rows.filter(kept), held), removed=removed)

    def _send(self, pending: Pending) -> Collection[str] | None:
        """Send a batch and settle it.

        Returns:
            Nothing if it was taken, apart from rejected accounts; the rejected accounts if it was refused because of them, so
            that the others have to be sent again; ``None`` if it is too large.
        """
        method, url = self._api.request(pending)
        answer = self._client.send(method, url, pending.body, lambda: self._api.headers(pending))
        if answer.status < 300:
            self._note(rejected := self._api.rejected(answer, pending.ids), pending)
            self._ledger.settle(pending, rejected)
            return ()
        if answer.status == TOO_LARGE and len(pending.ids) > 1:
            self._ledger.drop(pending)
            return None
        rejected = self._api.rejected(answer, pending.ids) if answer.status in INVALID else {}
        if rejected:
            self._ledger.drop(pending)
            self._note(rejected, pending)
            return rejected
        if answer.status in (400, 404, 413, 422):  # what is wrong may be in the batch; the next delivery makes it anew
            self._ledger.drop(pending)
        shown = f": {answer.words}" if answer.words else ""
        moved = "; redirects are not followed" if 300 <= answer.status < 400 else ""
        raise TargetError(f"it answered {answer.status}{moved or shown}")

    def _note(self, rejected: Mapping[str, str], pending: Pending) -> None:
        for account, words in rejected.items():
            self._rejects.add(account, words, "remove" if pending.removed else "upsert")


class OverHttp(Target):
    """A target over HTTP."""

    # Name of its address in the credentials, and of what it needs beside.
    address_name = "url"
    needed: tuple[str, ...] = ("token",)
    default_address = ""
    sleep: Callable[[float], object] = staticmethod(time.sleep)

    @property
    def _http(self) -> HttpTarget:
        return cast("HttpTarget", self.settings)

    @property
    def batch_rows(self) -> int:
        """Rows of a batch."""
        return int(getattr(self.settings, "batch"))  # noqa: B009, each kind has it

    @property
    def address(self) -> str:
        """Its address, without a slash at the end."""
        return str(self._credentials.get(self.address_name) or self.default_address).strip().rstrip("/")

    @property
    def place(self) -> str:
        """Where it is, for messages: the host, as what follows may be secret."""
        return urlsplit(self.address).hostname or "no address"

    def faults(self) -> list[str]:
        """Return what is wrong with credentials and parameters."""
        entry = f"credentials.yml: delivery.{self.settings.name}"
        lacking = [name for name in self.needed if not self._credentials.get(name)]
        found = [f"{entry}.{name} is empty" for name in lacking]
        if not self.address:
            found.append(f"{entry}.{self.address_name} is empty")
        elif not self.address.startswith(("https://", "http://")) or not urlsplit(self.address).hostname:
            found.append(f"{entry}.{self.address_name} is no address that begins with https://")
        elif self.address.startswith("http://") and not is_loopback(self.address):
            found.append(
                f"{entry}.{self.address_name} begins with http://, so anybody on the way could read it; use https://"
            )
        if self._http.ca is not None and not Path(self._http.ca).is_file():
            found.append(f"ca = {self._http.ca!r}: there is no such file")
        return found

    @abstractmethod
    def api(self) -> Api:
        """Return how it wants its batches."""

    @contextmanager
    def session(self, fields: Fields, rejects: Rejects) -> Iterator[Session]:
        """Open the ledger; the target is asked when something is sent."""
        ledger = LocalLedger(self._folder / f"{self.settings.name}.sqlite")
        client = HttpClient(self._http, self.sleep)
        try:
            yield HttpSession(self.api(), client, ledger, fields, rejects)
        finally:
            client.close()
            ledger.close()
