"""Connections that stay open between requests, with limits: uvicorn's fast protocol, guarded.

uvicorn limits neither the time nor the bytes that a request takes. Here each request has a time for its header, one for the
whole, and a number of bytes; and connections that say nothing give way to new ones, see `churn.web.http_guard`.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from churn.web import http_guard
from churn.web.http_guard import LARGEST_HEADER, Connections, client_of


class Limits:
    """Limits of the connections of a server.

    Attributes:
        connections: The open ones.
        seconds: Time of a whole request with its answer.
        largest: Bytes of what has come and is not answered yet.
    """

    def __init__(self, connections: Connections, seconds: float, largest_body: int) -> None:
        """Set the open connections, the time of a request, and the largest body that is answered with a score."""
        self.connections, self.seconds = connections, seconds
        # Somewhat too large a body is read, so that its sender gets an answer.
        self.largest = LARGEST_HEADER + 4 * largest_body

    def protocol(self) -> Callable[..., "GuardedProtocol"]:
        """Return what makes a guarded connection, for uvicorn."""
        return lambda **options: GuardedProtocol(self, **options)


class GuardedProtocol(HttpToolsProtocol):
    """A connection with limits.

    Attributes:
        group: Name under which its client is counted.
        has_header: Whether it has a request in hand whose header is complete.
        answered: Whether it has had an answer.
    """

    def __init__(self, limits: Limits, **options: Any) -> None:
        """Set the limits; the rest is uvicorn's."""
        super().__init__(**options)
        self._limits = limits
        self._late: asyncio.TimerHandle | None = None
        self._whole: asyncio.TimerHandle | None = None
        self._bytes, self._in_header, self._in_hand = 0, True, 0
        # Requests whose body has not arrived whole; some are answered before.
        self._unread = 0
        self._admitted = False
        self.group, self.has_header, self.answered = "", False, False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock, or refuse the connection."""
        super().connection_made(transport)
        self.group = client_of(self.client[0] if self.client else None)
        self._admitted = self._limits.connections.admit(self)
        if not self._admitted:
            self.abort()
            return
        self._await_header()

    def abort(self) -> None:
        """Close the connection at once."""
        # Here already, because the transport tells it later.
        self._limits.connections.remove(self)
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Pass bytes on, up to the limits."""
        if not self._admitted or self.transport.is_closing():
            return
        if self._in_hand == 0 and self._late is None:  # a new request on a connection that was idle
            self._await_header()
        self._bytes += len(data)
        super().data_received(data)
        if self._bytes > (LARGEST_HEADER if self._in_header else self._limits.largest) and self._unfinished:
            self.abort()

    @property
    def _unfinished(self) -> bool:
        return self._in_header or self._in_hand > 0

    def _await_header(self) -> None:
        self._in_header, self._bytes = True, 0
        self._late = self.loop.call_later(http_guard.HEADER_TIME, self.abort)

    def on_headers_complete(self) -> None:
        """Start the clock of the request."""
        self._in_header, self.has_header = False, True
        self._in_hand += 1
        self._unread += 1
        if self._late is not None:
            self._late.cancel()
            self._late = None
        if self._whole is None:
            self._whole = self.loop.call_later(self._limits.seconds, self.abort)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Stop the clock of a request that was answered before its body had arrived."""
        self._unread -= 1
        if self._in_hand == 0 and self._unread == 0:
            self._stop_clock()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Stop the clock of the request, or start that of the next one in the pipeline."""
        self._in_hand -= 1
        self.answered = True
        if self._in_hand > 0:
            self._stop_clock()
            self._whole = self.loop.call_later(self._limits.seconds, self.abort)
        else:
            self._bytes, self.has_header = 0, False
            if self._unread == 0:
                self._stop_clock()
        super().on_response_complete()

    def _stop_clock(self) -> None:
        if self._whole is not None:
            self._whole.cancel()
            self._whole = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clocks."""
        for timer in (self._late, self._whole):
            if timer is not None:
                timer.cancel()
        self._limits.connections.remove(self)
        super().connection_lost(exc)
