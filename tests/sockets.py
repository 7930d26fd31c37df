"""Connections to a server as a client of no library has them."""

import contextlib
import socket


def ends(client: socket.socket) -> bytes:
    """What a connection brings until the server closes it."""
    got = b""
    with contextlib.suppress(ConnectionError):
        while part := client.recv(65536):
            got += part
    return got
