"""Texts about requests to other servers, which can be shown: they hold no address and no control characters."""

import unicodedata
from collections.abc import Iterator
from typing import Any

# Characters of a text.
LONGEST_TEXT = 3_000


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
