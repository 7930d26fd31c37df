"""Limits of the HTTP server of `churn watch`, so that no client can keep others from it.

uvicorn limits the size of a header and the time that an idle connection stays open after an answer. It does not limit the time
that a header or a body takes, and answers "busy" to everybody when there are too many connections. So each connection has a
guard: it carries one request, within a time and a number of bytes. There is a largest number of connections, in all and of
one client; beyond it, the oldest one that has not sent a whole header gives way to the new one. A client that connects and
says nothing therefore never keeps another one out.
"""

import asyncio
import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Protocol

# Seconds for the header, and for the whole request with its answer.
HEADER_TIME, WHOLE_TIME = 5.0, 15.0
# Bytes of a header, of a body, and of all that is read of a request. Somewhat too large a body is read, so that its sender
# gets an answer: a connection that is closed while the other side writes is an error there.
LARGEST_HEADER, LARGEST_BODY, LARGEST_READ = 16 << 10, 1 << 20, 4 << 20
MOST_CONNECTIONS, LEAST_CONNECTIONS = 64, 4
# File descriptors that are left to everything else: libraries, stores, MLflow, and a run that starts.
RESERVED = 64
# Connections that are accepted before the first of them is looked at; each is an open file.
AT_ONCE = 4
# Requests of a client without the token: so many at once, and so many a second in the long run.
BURST, RATE = 60.0, 20.0
MOST_CLIENTS = 1_024


def most_connections(wanted: int = MOST_CONNECTIONS) -> int:
    """Return the largest number of connections: as wanted, or what the limit of open files allows."""
    try:
        import resource
    except ImportError:  # Windows
        return wanted
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    return max(LEAST_CONNECTIONS, min(wanted, (soft - RESERVED) // 3))


def client_of(address: str | None) -> str:
    """Return the name under which a client is counted: its address, of IPv6 the network that one client has."""
    try:
        found = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return address or ""
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)


class Rates:
    """Requests of clients: each has a bucket that fills at a rate, and a request takes one out of it."""

    def __init__(self, burst: float = BURST, rate: float = RATE, clock: Callable[[], float] = time.monotonic) -> None:
        """Set the size of the bucket, how much flows into it in a second, and the clock."""
        self._burst, self._rate, self._clock = burst, rate, clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allow(self, client: str) -> bool:
        """Return whether a client may make a request now, and count it."""
        now = self._clock()
        left, at = self._left.pop(client, (self._burst, now))
        left = min(self._burst, left + max(0.0, now - at) * self._rate)
        allowed = left >= 1
        self._left[client] = (left - allowed, now)
        while len(self._left) > MOST_CLIENTS:  # those who have not asked for longest
            self._left.popitem(last=False)
        return allowed


class Connection(Protocol):
    """An open connection.

    Attributes:
        group: Name under which its client is counted.
        has_header: Whether it has sent a whole header, whose request is not answered yet.
    """

    group: str
    has_header: bool

    def abort(self) -> None:
        """Close it at once."""
        ...


class Connections:
    """The open connections, oldest first."""

    def __init__(self, most: int, most_of_one: int | None = None) -> None:
        """Set the largest number of connections, in all and of one client; half of them by default."""
        self.most, self.most_of_one = most, max(1, most // 2) if most_of_one is None else most_of_one
        self._open: OrderedDict[Connection, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, guard: Connection) -> bool:
        """Add a connection, perhaps in place of another one; return whether there is room for it."""
        of_client = [each for each in self._open if each.group == guard.group]
        crowded = of_client if len(of_client) >= self.most_of_one else None
        if crowded is None and len(self._open) >= self.most:
            crowded = list(self._open)
        if crowded is not None:
            silent = next((each for each in crowded if not each.has_header), None)
            if silent is None:
                return False
            silent.abort()
        self._open[guard] = None
        return True

    def remove(self, guard: Connection) -> None:
        """Remove a connection that is closed."""
        self._open.pop(guard, None)

    def protocol(self, inner: Callable[..., Any]) -> Callable[..., "Guard"]:
        """Return what makes a guarded connection, for uvicorn.

        Args:
            inner: uvicorn's own class of connections.
        """
        return lambda **options: Guard(self, inner(**options))


class Guard(asyncio.Protocol):
    """A connection with limits; passes everything else on to uvicorn's own."""

    def __init__(self, connections: Connections, inner: Any) -> None:
        """Set the other connections, and uvicorn's own object for this one."""
        self._connections, self._inner = connections, inner
        self._transport: asyncio.Transport | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self._end, self._bytes = b"", 0
        self._admitted = False
        self.group = ""
        self.has_header = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the clocks, or refuse the connection."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101
        self._transport = transport
        address = transport.get_extra_info("peername")
        self.group = client_of(str(address[0]) if address else None)
        if not self._connections.admit(self):
            transport.abort()
            return
        self._admitted = True
        loop = asyncio.get_running_loop()
        self._timers = [
            loop.call_later(HEADER_TIME, self._header_is_late),
            loop.call_later(WHOLE_TIME, self.abort),
        ]
        self._inner.connection_made(transport)

    def _header_is_late(self) -> None:
        if not self.has_header:
            self.abort()

    def abort(self) -> None:
        """Close the connection at once."""
        # Here already, because the transport tells it later.
        self._connections.remove(self)
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Pass bytes on, up to the limit."""
        if not self._admitted or self._transport is None or self._transport.is_closing():
            return
        self._bytes += len(data)
        if not self.has_header:
            self.has_header = b"\r\n\r\n" in self._end + data
            self._end = (self._end + data)[-3:]
        if self._bytes > (LARGEST_READ if self.has_header else LARGEST_HEADER):
            self.abort()
            return
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        """Pass the end on."""
        result: bool | None = self._inner.eof_received() if self._admitted else None
        return result

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clocks."""
        for timer in self._timers:
            timer.cancel()
        self._connections.remove(self)
        if self._admitted:
            self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        """Pass it on."""
        if self._admitted:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on."""
        if self._admitted:
            self._inner.resume_writing()
