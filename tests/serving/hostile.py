"""Requests that no friend sends, as bytes: what a parser, a limit or a check could trip over."""

import copy
import gzip
import json
import random
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

SCORE, INFER = "/v1/score", "/v2/models/churn/infer"
# Values where others are expected; the first ones are no JSON of Python's own writer.
RAW = [
    "NaN",
    "-Infinity",
    "1e999",
    "-1e999",
    "9" * 400,
    "9" * 5000,
    "0.0000000000000000000001e-999",
    '"\\ud800"',
    '"\\u0000"',
]
VALUES: list[Any] = [
    *(None, True, False, 0, -1, 2**53 + 1, 2**64, -(2**63), 1.5, 1e308, 5e-324),
    *(
        "",
        " ",
        "\x00",
        "a" * 5000,
        "1e5",
        "nan",
        "inf",
        "١٢",
        "é",
        "\U0001f600",
        "2024-02-30",
        "=1+1",
        "' OR 1=1 --",
        "../../x",
    ),
    *([], {}, [[]], [None], {"": None}, {"a": {"b": []}}, [1, "a"], [{}] * 3),
]


class Hostile(NamedTuple):
    """A request, and whether the service may wait for more of it until its time is over."""

    kind: str
    sent: bytes
    is_open: bool = False


def request(
    body: bytes, path: str = SCORE, method: str = "POST", token: str = "", length: int | None = None, **headers: str
) -> bytes:
    """A request, with further headers whose names have _ for -."""
    known = {"Host": "127.0.0.1", "Content-Type": "application/json", "Connection": "close"}
    known |= {"Authorization": f"Bearer {token}"} if token else {}
    known["Content-Length"] = str(len(body) if length is None else length)
    known |= {name.replace("_", "-"): text for name, text in headers.items()}
    lines = "".join(f"{name}: {text}\r\n" for name, text in known.items())
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + body


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a document."""
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(each for key, inner in below for each in places(inner, (*path, key)))]


def put(document: Any, place: tuple[Any, ...], value: Any) -> Any:
    """The document with another value at a place."""
    if not place:
        return value
    changed = copy.deepcopy(document)
    holder = changed
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = value
    return changed


def requests_of(examples: Mapping[str, Any], count: int, *, token: str = "", seed: int = 0) -> Iterator[Hostile]:
    """So many requests of all kinds, in turns.

    Args:
        examples: A good document for each path.
        count: Number of requests.
        token: Token of all that are not about tokens.
        seed: Makes others.
    """
    draw = random.Random(seed)
    makers: list[Callable[[], Hostile]] = []

    def kind(make: Callable[[], Hostile]) -> None:
        makers.append(make)

    def good() -> bytes:
        return json.dumps(examples[SCORE]).encode()

    @kind
    def another_value() -> Hostile:
        path = draw.choice([SCORE, INFER])
        document = examples[path]
        for _ in range(draw.randint(1, 3)):
            document = put(document, draw.choice(places(document)), draw.choice(VALUES))
        return Hostile("another value", request(json.dumps(document).encode(), path, token=token))

    @kind
    def no_json() -> Hostile:
        path = draw.choice([SCORE, INFER])
        document = put(examples[path], draw.choice(places(examples[path])[1:]), "@@")
        text = json.dumps(document).replace('"@@"', draw.choice(RAW))
        return Hostile("numbers and texts of no JSON", request(text.encode(), path, token=token))

    @kind
    def cut() -> Hostile:
        body = good()
        return Hostile("a part of a document", request(body[: draw.randrange(len(body))], token=token))

    @kind
    def twice() -> Hostile:
        row = json.dumps(examples[SCORE]["rows"][0])
        body = f'{{"rows": [{row[:-1]}, {row[1:]}], "rows": [{row}]}}'
        return Hostile("names that occur twice", request(body.encode(), token=token))

    @kind
    def nested() -> Hostile:
        depth = draw.choice([50, 500, 5_000, 100_000])
        opening, closing = draw.choice([("[", "]"), ('{"a":', "}"), ('{"rows":[', "]}")])
        body = opening * depth + "1" + closing * depth if draw.random() < 0.7 else opening * depth
        return Hostile("deep nesting", request(body.encode(), draw.choice([SCORE, INFER]), token=token))

    @kind
    def bytes_of_no_text() -> Hostile:
        body = draw.choice(
            [
                good().replace(b"A-1001", b"\xff\xfe"),
                good().replace(b"A-1001", b"\xc0\x80\xed\xa0\x80"),
                good().decode().encode("utf-16"),
                b"\xef\xbb\xbf" + good(),
                draw.randbytes(draw.randint(1, 2000)),
                b"\x00" * 1000,
            ]
        )
        return Hostile("bytes that are no UTF-8", request(body, token=token))

    @kind
    def compressed() -> Hostile:
        body = gzip.compress(b" " * draw.choice([10, 10_000_000]) + good())
        return Hostile(
            "a gzip bomb", request(body, token=token, Content_Encoding=draw.choice(["gzip", "br", "deflate"]))
        )

    @kind
    def many() -> Hostile:
        rows = examples[SCORE]["rows"] * draw.choice([0, 2, 1001, 5000])
        return Hostile("too many rows, or one id twice", request(json.dumps({"rows": rows}).encode(), token=token))

    @kind
    def large() -> Hostile:
        size = draw.choice([1 << 20, 3 << 20])
        return Hostile("a large body", request(b'{"rows": [{"a": "' + b"x" * size + b'"}]}', token=token))

    @kind
    def chunked() -> Hostile:
        body = good()
        size = draw.choice([1, 7, 4096])
        parts = [body[at : at + size] for at in range(0, len(body), size)]
        sent = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
        sent = draw.choice([sent, sent, b"zz\r\n" + sent, b"ffffffffffffffff\r\n" + body, b"-5\r\nabc\r\n0\r\n\r\n"])
        head = request(b"", token=token, Transfer_Encoding="chunked").replace(b"Content-Length: 0\r\n", b"")
        return Hostile("chunks", head + sent, is_open=not sent.endswith(b"0\r\n\r\n"))

    @kind
    def both_lengths() -> Hostile:
        body = b"0\r\n\r\nGET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        return Hostile("two lengths", request(body, token=token, Transfer_Encoding="chunked"), is_open=True)

    @kind
    def pipelined() -> Hostile:
        one = request(good(), token=token).replace(b"Connection: close\r\n", b"")
        return Hostile("requests without waiting", one * draw.randint(2, 30) + request(b"{", token=token))

    @kind
    def elsewhere() -> Hostile:
        path = draw.choice(
            [
                *("/", "//", "/v1/score/", "/v1/score?x=%00", "/v1/accounts/%00%ff", "/v1/accounts/" + "a" * 5000),
                *("/../etc/passwd", "http://127.0.0.1/v1/score", "*", "/docs/../v1/model", "/%2e%2e/", "/metrics/"),
                "/v1/accounts/a%2Fb",
            ]
        )
        method = draw.choice(["GET", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "HEAD"])
        return Hostile(
            "other paths and methods", request(b"" if method in ("GET", "HEAD") else good(), path, method, token)
        )

    @kind
    def other_headers() -> Hostile:
        name, text = draw.choice(
            [
                *(
                    ("Authorization", "Bearer"),
                    ("Authorization", "Bearer " + "a" * 3000),
                    ("Authorization", "Basic YTpi"),
                ),
                *(
                    ("Content_Type", "text/plain"),
                    ("Content_Type", "application/json; charset=utf-16"),
                    ("Content_Type", "x"),
                ),
                *(("Host", "evil.example"), ("Expect", "100-continue"), ("Upgrade", "websocket"), ("X_A", "é" * 100)),
                *(
                    ("Range", "bytes=0-1"),
                    ("Cookie", "a=b; " * 500),
                    ("X_Forwarded_For", "127.0.0.1"),
                    ("Accept", "image/png"),
                ),
            ]
        )
        return Hostile("other headers", request(good(), token=token, **{name: text}))

    @kind
    def no_http() -> Hostile:
        sent = draw.choice(
            [
                b"GET /livez\r\n\r\n",
                b"GET /livez HTTP/9.9\r\nHost: a\r\n\r\n",
                b"\x16\x03\x01\x02\x00\x01\x00" * 50,
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                b"G\x00T / HTTP/1.1\r\n\r\n",
                b"POST /v1/score HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n",
                b"POST /v1/score HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
                b"GET /livez HTTP/1.1\r\nx: " + b"y" * 100_000 + b"\r\n\r\n",
                draw.randbytes(500) + b"\r\n\r\n",
            ]
        )
        return Hostile("no HTTP", sent, is_open=True)

    @kind
    def slow() -> Hostile:
        return Hostile("a body that does not come", request(good()[:50], token=token, length=5000), is_open=True)

    for number in range(count):
        yield makers[number % len(makers)]()


def statuses(port: int, hostile: Hostile, seconds: float) -> list[int]:
    """Send a request, and return the statuses of what comes back; empty if the service closes the connection.

    One that is open is left by its sender after some seconds.
    """
    got = b""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as client, suppress(OSError):
        client.sendall(hostile.sent)
        if hostile.is_open:
            client.settimeout(0.05)
        while part := client.recv(1 << 16):
            got += part
    return [int(each[:3]) for each in got.split(b"HTTP/1.1 ")[1:] if each[:3].isdigit()]
