"""Requests to other servers, and texts about them that can be shown: they hold no address and no control characters."""

import unicodedata
from collections.abc import Iterator
from typing import Any

# Characters of a text.
LONGEST_TEXT = 3_000
# Statuses after which the same request is made again.
PASSING = (408, 425, 429, 500, 502, 503, 504)
# Characters of an answer that are shown.
LONGEST_SHOWN = 200


def send_once(session: Any, method: str, url: str, *, timeout: float, ca: str | None = None, **content: Any) -> Any:
    """Send a request once, and return the answer, a `requests.Response`, of which the headers were read.

    Redirects are not followed.

    Args:
        session: The `requests.Session` that has the connections.
        method: Method of HTTP.
        url: Address.
        timeout: Seconds to wait for a connection, and for each part of the headers.
        ca: File with the certificates to trust; ``None`` for those that the environment names.
        content: Headers and body as `requests.Request` takes them.

    Raises:
        requests.RequestException: If there is no answer.
    """
    import requests

    request = session.prepare_request(requests.Request(method, url, **content))
    around = session.merge_environment_settings(str(request.url), {}, True, ca or True, None)
    # By the adapter, because a session follows redirects, sends the content to wherever they lead, and reads their whole answers.
    return session.get_adapter(str(request.url)).send(request, timeout=timeout, **around)


def beginning(text: str) -> str:
    """Return the beginning of the text of an answer, in one line."""
    return " ".join(plain(text, LONGEST_SHOWN).split())


def is_wrong_address(error: BaseException) -> bool:
    """Return whether an error of `requests` is about the address itself, so that another attempt has the same."""
    from requests import exceptions

    return isinstance(error, exceptions.InvalidURL | exceptions.MissingSchema | exceptions.InvalidSchema)


def plain(text: str, longest: int = LONGEST_TEXT) -> str:
    """Return a text without control characters, except for line breaks, cut to a number of characters.

    Control characters include those that change the direction of text, and halves of characters.
    """
    kept = "".join(each for each in text[: 4 * longest] if each in "\n\t" or unicodedata.category(each)[0] != "C")
    return kept if len(kept) <= longest else f"{kept[: longest - 1]}\u2026"


def cause_of(error: BaseException, timeout: float) -> str:
    """Return why there was no answer, without the texts of libraries, which have the address.

    Args:
        error: Error of `requests`.
        timeout: Seconds that were waited for an answer.
    """
    import ssl

    import requests

    if is_wrong_address(error):
        return "its address is not one that begins with https:// or http://"
    if isinstance(error, requests.Timeout):
        return f"no answer within {timeout:g} seconds"
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not accepted: {cause.verify_message}"
        if isinstance(cause, OSError) and cause.errno is not None and cause.strerror:
            return f"no connection: {cause.strerror}"
    return f"no answer ({type(error).__name__})"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and all errors that it was made from."""
    waiting: list[Any] = [error]
    seen: set[int] = set()
    while waiting:
        each = waiting.pop(0)
        if not isinstance(each, BaseException) or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        waiting += [*each.args, getattr(each, "reason", None), each.__cause__, each.__context__]
