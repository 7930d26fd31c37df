"""Sockets that listen, and the packages that serve them."""

import importlib.util
import socket
from collections.abc import Sequence
from typing import Any

from churn.errors import ChurnError

# Connections that the system keeps until they are accepted.
BACKLOG = 128


def check_installed(extra: str, needed: Sequence[str]) -> None:
    """Check that the packages of the extra of a command are installed.

    Raises:
        ChurnError: If one is not installed.
    """
    if lacking := [name for name in needed if importlib.util.find_spec(name) is None]:
        raise ChurnError(f"churn {extra} needs {', '.join(lacking)}: uv sync --extra {extra}")


def listen(host: str, port: int, block: str = "watch") -> socket.socket:
    """Return a socket that listens on an address of IPv4 or IPv6; on ``::`` on both.

    Args:
        host: The address.
        port: The port.
        block: The block of parameters that sets both, for messages.

    Raises:
        ChurnError: If the address is none of this machine, or the port is in use.
    """
    name = host.removeprefix("[").removesuffix("]")
    try:
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        # A name like localhost has addresses of both kinds; that of IPv4 is the one that others expect.
        family, _, _, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
        dual = name == "::" and socket.has_dualstack_ipv6()
        # With the scope of a link-local address, which is the fourth part.
        place: Any = address
        return socket.create_server(place, family=family, backlog=BACKLOG, dualstack_ipv6=dual)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ChurnError(
            f"{block}.host = '{host}', {block}.port = {port}: cannot listen on this address ({reason}); "
            "set another host or port"
        ) from None
