"""Secrets: checks of credentials, and masking in logs and messages."""

import ipaddress
import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from churn.errors import FaultsError

MASK = "***"
SECRET_NAMES = ("secret", "password", "token", "webhook", "sns_topic")
LEAST_LENGTH = 8
# Well-known keys and passwords: defaults of servers and examples in their documentation.
WELL_KNOWN = {
    *("minio", "minio123", "minioadmin", "admin", "root", "test", "secret", "password", "password1234"),
    *("changeme", "change-me", "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
}


def check_credentials(credentials: Mapping[str, Any], tracking_uri: str) -> None:
    """Refuse empty, well-known or short credentials for a server that is not on loopback.

    Args:
        credentials: Entries of ``credentials.yml`` by name.
        tracking_uri: Address of MLflow.

    Raises:
        FaultsError: Lists the entries, never their values.
    """
    faults: list[str] = []
    entries = {
        **credentials,
        **{f"delivery.{name}": entry for name, entry in (credentials.get("delivery") or {}).items()},
    }
    for name, entry in entries.items():
        if not isinstance(entry, Mapping):
            continue
        if "client_kwargs" in entry:
            endpoint = entry["client_kwargs"].get("endpoint_url")
            if not is_loopback(endpoint):
                # Without an endpoint the store is AWS, where a role can replace keys.
                needed = bool(endpoint) or bool(entry.get("key"))
                faults += [f"{name}: {fault}" for fault in _faults(entry, ("key", "secret"), needed)]
        elif "MLFLOW_TRACKING_PASSWORD" in entry and not is_loopback(tracking_uri):
            needed = bool(entry.get("MLFLOW_TRACKING_USERNAME"))
            faults += [f"{name}: {fault}" for fault in _faults(entry, ("MLFLOW_TRACKING_PASSWORD",), needed)]
    if faults:
        raise FaultsError("credentials", [f"{fault}; set another value, make env generates one" for fault in faults])


def _faults(entry: Mapping[str, Any], names: Iterable[str], needed: bool) -> Iterator[str]:
    for name in names:
        value = str(entry.get(name) or "")
        if not value:
            if needed:
                yield f"{name} is empty"
        elif value in WELL_KNOWN or "example" in value.lower():
            yield f"{name} has a well-known value"
        elif len(value) < LEAST_LENGTH and any(word in name.lower() for word in SECRET_NAMES):
            yield f"{name} has fewer than {LEAST_LENGTH} characters"


def is_loopback(address: str | None) -> bool:
    """Return whether an address is on loopback, or a local file."""
    host = urlsplit(address or "").hostname
    if host is None:
        return bool(address) and "://" in str(address) and not str(address).startswith(("http", "postgresql"))
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Redaction(logging.Filter):
    """Masks the secrets of the configuration in logs and messages."""

    def __init__(self) -> None:
        super().__init__()
        self._secrets: set[str] = set()

    def learn(self, credentials: Mapping[str, Any], *addresses: str) -> None:
        """Add the secrets of credentials and the passwords in addresses."""
        for name, value in _leaves(credentials):
            if "://" in value and (password := _password_in(value)):
                self._note(password)
                self._note(unquote(password))  # as drivers write it
            if value and any(word in name.lower() for word in SECRET_NAMES):
                self._note(value)
                if "webhook" in name.lower():
                    # Libraries log it without the host, and servers repeat parts of it.
                    whole, parts = behind_host(value)
                    # Shorter ones occur in other places: "/data".
                    for secret in whole | parts:
                        if len(secret) >= LEAST_LENGTH or "?" in secret:
                            self._note(secret)
        for address in addresses:
            if password := urlsplit(address).password:
                self._note(password)

    def _note(self, secret: str) -> None:
        self._secrets |= {secret, quote(secret, safe="")}

    def text(self, text: str) -> str:
        """Return the text with secrets masked."""
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, MASK)
        return text

    def within(self, value: Any) -> Any:
        """Return a copy of nested plain values with secrets masked."""
        if isinstance(value, Mapping):
            return {key: self.within(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.within(item) for item in value]
        return self.text(value) if isinstance(value, str) else value

    def filter(self, record: logging.LogRecord) -> bool:
        """Pass every record, with its secrets masked."""
        if self._secrets:
            message = record.getMessage()
            clean = self.text(message)
            if clean != message:
                record.msg, record.args = clean, ()
            if record.exc_info and record.exc_info[0] is not None:
                traceback = logging.Formatter().formatException(record.exc_info)
                shown = self.text(traceback)
                if shown != traceback:
                    # Handlers would format the exception themselves.
                    record.msg, record.args = f"{clean}\n{shown}", ()
                    record.exc_info, record.exc_text = None, None
        return True


def _password_in(address: str) -> str | None:
    """Return the password in an address; ``None`` if there is none."""
    try:
        return urlsplit(address).password
    except ValueError:
        return None


def behind_host(address: str) -> tuple[set[str], set[str]]:
    """Return what follows the host in an address that is secret as a whole.

    Returns:
        Path and query as they are written and as they are sent, each also without the other; and their parts, the segments
        of the path and the values of the query, which may be as short as a letter.
    """
    try:
        split = urlsplit(address.strip())
    except ValueError:  # not an address: everything after the first slash
        split = urlsplit(f"//host/{address.strip().partition('://')[2].partition('/')[2]}")
    path, query = split.path.rstrip("/"), split.query
    parts = {*path.split("/"), *(value for _, value in parse_qsl(query)), split.username or "", split.password or ""}
    whole = {f"{split.path}?{query}" if query else "", path, query, split.fragment}
    # A path of one or two characters would mask every slash in the log, and hides nothing.
    sent = {form for each in whole if len(each) > 2 for form in (each, quote(each, safe="/?&=%"), unquote(each))}
    return sent, {form for each in parts if each for form in (each, quote(each, safe=""), unquote(each))}


def _leaves(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value)
        elif isinstance(value, list | tuple):
            yield from ((name, str(item or "")) for item in value if not isinstance(item, Mapping))
        else:
            yield name, str(value or "")


# One for the process: a later run must not show a secret of an earlier one.
REDACTION = Redaction()
