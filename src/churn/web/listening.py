"""Sockets that listen, and the packages that serve them."""

import importlib.util
import os
import socket
from collections.abc import Sequence
from typing import Any

from churn.errors import ChurnError

# Connections that the system keeps until they are accepted.
BACKLOG = 128
# Descriptor of the first socket that a process is started with.
FIRST_INHERITED = 3


def check_installed(extra: str, needed: Sequence[str]) -> None:
    """Check that the packages of the extra of a command are installed.

    Raises:
        ChurnError: If one is not installed.
    """
    if lacking := [name for name in needed if importlib.util.find_spec(name) is None]:
        raise ChurnError(f"churn {extra} needs {', '.join(lacking)}: uv sync --extra {extra}")


def inherited(extra: str) -> socket.socket | None:
    """Return the socket that the process was started with, as by a socket unit of systemd; ``None`` if there is none.

    The variables LISTEN_FDS and LISTEN_PID name it, see sd_listen_fds(3). Several processes may share such a socket, one after
    the other or at once: connections wait in it until one of them accepts them.

    Args:
        extra: The command, for messages.

    Raises:
        ChurnError: If there are several, or it is no TCP socket that listens.
    """
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return None
    count = os.environ.pop("LISTEN_FDS", "")
    for name in ("LISTEN_PID", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)  # not for the processes that this one starts
    if count != "1":
        raise ChurnError(
            f"LISTEN_FDS = {count!r}: churn {extra} takes one socket; give its socket unit one ListenStream"
        )
    try:
        found = socket.socket(fileno=FIRST_INHERITED)
        found.set_inheritable(False)
        if found.family not in (socket.AF_INET, socket.AF_INET6) or found.type != socket.SOCK_STREAM:
            raise OSError("it is another kind of socket")
        found.listen(BACKLOG)
    except OSError as error:
        raise ChurnError(
            f"LISTEN_FDS = 1: descriptor {FIRST_INHERITED} is no TCP socket that churn {extra} can listen on ({error}); "
            "ListenStream takes an address and a port"
        ) from None
    return found


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
