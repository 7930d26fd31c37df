"""A TCP proxy that misbehaves on request, between a client and a real server."""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Literal, Self

Fault = Literal["none", "refuse", "hang", "slow", "reset", "busy", "cut"]

BUSY = b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
SLOW_DOWN = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"


class FaultyProxy:
    """Listens on loopback and passes everything on to a port, as long as there is no fault.

    ``refuse`` closes the port; ``hang`` takes connections and says nothing; ``slow`` passes one byte a second back;
    ``reset`` resets connections when a request comes; ``busy`` answers 503 SlowDown; ``cut`` passes the head of an answer
    and a part of its body, then resets.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._fault: Fault = "none"
        self._times: int | None = None
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self.requests: list[bytes] = []
        self.on_request: Callable[[bytes], None] | None = None
        self.port = 0
        self._listen()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.fail("refuse")

    def fail(self, fault: Fault, times: int | None = None) -> None:
        """Misbehave from now on, or for a number of requests; present connections are closed."""
        self._fault, self._times = fault, times
        with self._lock:
            present, self._open = self._open, set()
        for connection in present:
            _reset(connection)
        if fault == "refuse":
            if self._listener is not None:
                # Closing alone does not wake the thread that waits in accept, and the port would stay open.
                with contextlib.suppress(OSError):
                    self._listener.shutdown(socket.SHUT_RDWR)
                self._listener.close()
                self._listener = None
        elif self._listener is None:
            self._listen()

    def _listen(self) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        listener.listen(64)
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with self._lock:
                self._open.add(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        server: socket.socket | None = None
        with contextlib.suppress(OSError):
            while content := client.recv(1 << 16):
                is_request = content[:8].split(b" ")[0] in (b"GET", b"PUT", b"POST", b"HEAD", b"DELETE")
                if is_request:
                    self.requests.append(content.split(b"\r\n")[0])
                    if self.on_request is not None:
                        self.on_request(self.requests[-1])
                fault = self._take(is_request)
                if fault == "hang":
                    time.sleep(3600)
                elif fault in ("reset", "refuse"):
                    # A connection may have been taken while the port was closed.
                    _reset(client)
                    return
                elif fault == "busy":
                    body = b"" if content.startswith(b"HEAD") else SLOW_DOWN
                    client.sendall(BUSY % (len(body), body))
                    client.close()
                    return
                if server is None:
                    server = socket.create_connection(("127.0.0.1", self._target))
                    with self._lock:
                        self._open.add(server)
                    threading.Thread(target=self._back, args=(server, client, fault), daemon=True).start()
                server.sendall(content)
        for each in (client, server):
            if each is not None:
                each.close()

    def _take(self, is_request: bool) -> Fault:
        """The fault of a request; parts of a request that has begun have none."""
        if not is_request or self._fault == "none":
            return "none" if self._fault not in ("slow", "cut") else self._fault
        if self._times is not None:
            if self._times <= 0:
                return "none"
            self._times -= 1
        return self._fault

    def _back(self, server: socket.socket, client: socket.socket, fault: Fault) -> None:
        with contextlib.suppress(OSError):
            while content := server.recv(1 << 16):
                if fault == "slow":
                    for at in range(len(content)):
                        client.sendall(content[at : at + 1])
                        time.sleep(1)
                elif fault == "cut":
                    head, _, body = content.partition(b"\r\n\r\n")
                    client.sendall(head + b"\r\n\r\n" + body[: len(body) // 2])
                    time.sleep(0.1)
                    _reset(client)
                    return
                else:
                    client.sendall(content)
        client.close()


def _reset(connection: socket.socket) -> None:
    """Close a connection so that the other side gets a reset."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RD)  # wakes a thread that waits for it
    connection.close()
