"""Who may ask for what: tokens with names and scopes, compared in constant time."""

import hashlib
import hmac
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, get_args

from churn.config.secrets import is_loopback
from churn.errors import FaultsError
from churn.serving.forms import Scope

LEAST_TOKEN = 16
SCOPES: tuple[Scope, ...] = get_args(Scope)


class Client(NamedTuple):
    """A client that was let in.

    Attributes:
        name: Name of its token in the credentials; empty if none is required.
        scopes: What it may ask for.
    """

    name: str
    scopes: frozenset[Scope]


class Tokens:
    """The tokens of the credentials."""

    def __init__(self, credentials: Mapping[str, Any] | None) -> None:
        """Read the entry ``serve`` of the credentials.

        Args:
            credentials: ``tokens`` by name, each with ``token`` (a text or a list of texts) and ``scopes`` (all by default).
                A token that is empty counts as none.

        Raises:
            FaultsError: Lists the names whose tokens are too short or occur twice, and unknown scopes; never a token.
        """
        faults: list[str] = []
        # Their hashes have one length, which the comparison then does not give away.
        self._known: list[tuple[bytes, Client]] = []
        for name, entry in _entries(credentials, faults):
            scopes = _texts(entry.get("scopes", SCOPES))
            if strange := sorted(set(scopes) - set(SCOPES)):
                faults.append(f"{name}: there is no scope {', '.join(strange)}; choose from {', '.join(SCOPES)}")
            client = Client(name, frozenset(scope for scope in SCOPES if scope in scopes))
            for token in filter(None, _texts(entry.get("token"))):
                if len(token) < LEAST_TOKEN:
                    faults.append(
                        f"{name}: the token has fewer than {LEAST_TOKEN} characters; create one with openssl rand -hex 32"
                    )
                hashed = _hashed(token)
                if hashed in (each for each, _ in self._known):
                    faults.append(f"{name}: the token occurs twice; give each name its own")
                self._known.append((hashed, client))
        if faults:
            raise FaultsError("tokens of churn serve (credentials.yml, serve.tokens)", faults)

    def __len__(self) -> int:
        return len(self._known)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tokens) and self._known == other._known

    def __hash__(self) -> int:
        return hash(tuple(self._known))

    @property
    def names(self) -> list[str]:
        """Names that have a token, each once."""
        return list(dict.fromkeys(client.name for _, client in self._known))

    def client_of(self, authorization: str) -> Client | None:
        """Return who a header ``Authorization`` belongs to; ``None`` for nobody. Without tokens it is anybody."""
        if not self._known:
            return Client("", frozenset(SCOPES))
        scheme, _, given = authorization.partition(" ")
        hashed, found = _hashed(given.strip()), None
        for known, client in self._known:  # all of them, whichever it is
            if hmac.compare_digest(hashed, known):
                found = client
        return found if scheme.lower() == "bearer" else None

    def check_place(self, host: str) -> None:
        """Check that a service without tokens listens on this machine only.

        Raises:
            FaultsError: If it does not.
        """
        name = host.strip("[]")
        if not self._known and not is_loopback(f"http://[{name}]" if ":" in name else f"http://{name}"):
            fault = (
                f"serve.host = '{host}' can be reached from other machines, and there is no token; set CHURN_SERVE_TOKEN "
                "(openssl rand -hex 32), or name tokens in credentials.yml"
            )
            raise FaultsError("tokens of churn serve", [fault])


def _entries(credentials: Mapping[str, Any] | None, faults: list[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    named = (credentials or {}).get("tokens") or {}
    if not isinstance(named, Mapping):
        faults.append("tokens is not a mapping from names to tokens")
        return
    for name, entry in named.items():
        if not isinstance(entry, Mapping):
            faults.append(f"{name}: give it as {{token: ..., scopes: [...]}}")
        elif strange := sorted(map(str, set(entry) - {"token", "scopes"})):
            faults.append(f"{name}: has {', '.join(strange)}; it may have token and scopes")
        else:
            yield str(name), entry


def _texts(given: Any) -> list[str]:
    """Return one text or several as a list."""
    several = given if isinstance(given, list | tuple) else [given]
    return [str(each) for each in several if each is not None]


def _hashed(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
