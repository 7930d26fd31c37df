"""A champion that is refused is told to people once, and not at each look."""

import logging
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)

# Sends a message about a version; returns whether nothing remains to be done.
Tell = Callable[[str, str], bool]


class Refusals:
    """Tells of a refused version in a thread of its own: a look must not wait for a server of messages.

    A message that was not accepted is sent again when the version is tried again.
    """

    def __init__(self, tell: Tell) -> None:
        """Set what sends a message."""
        self._tell = tell
        self._told: str | None = None
        self._sending: threading.Thread | None = None

    def __call__(self, version: str, text: str, *, again: bool) -> None:
        """Tell of a version; nothing happens if that was done, unless it was in use or gone since then.

        Args:
            version: The version.
            text: The message.
            again: Whether it was refused at the last look too.
        """
        if not again:
            self._told = None
        if version == self._told or (self._sending is not None and self._sending.is_alive()):
            return
        self._sending = threading.Thread(target=self._send, args=(version, text), name="refusal", daemon=True)
        self._sending.start()

    def _send(self, version: str, text: str) -> None:
        try:
            if self._tell(version, text):
                self._told = version
        except Exception as error:  # the text may have secrets
            logger.warning("It could not be told that version %s is refused: %s", version, type(error).__name__)
