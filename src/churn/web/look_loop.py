"""Looks at regular intervals and on request."""

import logging
import threading
import time
from collections.abc import Callable

from churn.config.secrets import REDACTION

logger = logging.getLogger(__name__)

# Seconds after which a look that has failed is repeated, if the interval is longer.
RETRY = 60.0


class LookLoop:
    """Checks the inputs at the start, at regular intervals and on request, one check at a time, in its own thread."""

    def __init__(self, look: Callable[[], float | None], poll: float) -> None:
        """Set the check and its interval.

        Args:
            look: The check. Returns the seconds until the next one is due; ``None`` for the interval.
            poll: Interval from the start of a check to the start of the next one, in seconds.
        """
        self._look, self._poll = look, poll
        self._told = threading.Event()
        self._stopping = False
        self._since: float | None = None
        self._shown: tuple[str, float] = ("", 0.0)
        # A daemon thread: a store that does not answer must not keep the process from ending. State files are written whole.
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        """Start the checks."""
        self._thread.start()

    def tell(self) -> None:
        """Request a check as soon as the current one is over. Several requests in the meantime cause one check."""
        self._told.set()

    def stop(self, seconds: float = 0.0) -> None:
        """Stop the checks, and wait some seconds at most for one that is running."""
        self._stopping = True
        self._told.set()
        self._thread.join(seconds)

    @property
    def fault(self) -> str | None:
        """Why there are no checks; ``None`` if there are."""
        since = self._since
        if not self._thread.is_alive():
            return "no looks are made"
        # Runs are separate processes: a look takes seconds.
        if since is not None and (lasts := time.monotonic() - since) > 120 + 3 * self._poll:
            return f"a look has not ended for {lasts:.0f} seconds"
        return None

    def _run(self) -> None:
        while True:
            # Before the check, which may miss changes made while it runs.
            self._told.clear()
            if self._stopping:
                return
            due = time.monotonic() + self._poll
            wait: float | None = None
            self._since = time.monotonic()
            try:
                wait = self._look()
            except Exception as error:  # the next check asks the store again
                self._show(shown_error(error))
                wait = RETRY
            self._since = None
            pause = due - time.monotonic()
            self._told.wait(max(0.0, pause if wait is None else min(pause, wait)))

    def _show(self, error: str) -> None:
        """Log an error, the same one every ten minutes at most."""
        before, at = self._shown
        if error != before or time.monotonic() - at > 600:
            logger.warning("A look has failed, the next one tries again: %s", error)
            self._shown = (error, time.monotonic())


def shown_error(error: Exception) -> str:
    """Return the first line of an error, without secrets."""
    return REDACTION.text((str(error) or type(error).__name__).splitlines()[0])[:300]
