"""Requests to a server that may not answer: several attempts within a time limit."""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TypeVar, cast

Result = TypeVar("Result")


@dataclass(frozen=True)
class Patience:
    """Limits of a request.

    Attributes:
        seconds: Maximum time of all attempts together.
        attempts: Maximum number of attempts.
        sleep: Waits between attempts for a number of seconds.
    """

    seconds: float = 40.0
    attempts: int = 6
    sleep: Callable[[float], object] = time.sleep

    def ask(self, request: Callable[[threading.Event], Result], may_pass: Callable[[Exception], bool]) -> Result:
        """Make a request, and retry it after temporary errors.

        Args:
            request: Makes the request. The event is set once its result is no longer needed.
            may_pass: Returns whether another attempt may succeed after an error.

        Returns:
            The result of the request.

        Raises:
            TimeoutError: If there is no answer in time. The running attempt is then abandoned in its thread: libraries
                limit each wait for bytes but not their sum, and nothing limits a DNS lookup.
            Exception: From the last attempt.
        """
        given_up = threading.Event()
        outcomes: SimpleQueue[tuple[Result | None, BaseException | None]] = SimpleQueue()

        def run() -> None:
            try:
                outcomes.put((self._repeatedly(request, may_pass, given_up), None))
            except BaseException as error:  # raised again in the waiting thread
                outcomes.put((None, error))

        threading.Thread(target=run, name="request", daemon=True).start()
        try:
            result, error = outcomes.get(timeout=self.seconds)
        except Empty:
            raise TimeoutError from None
        finally:
            given_up.set()
        if error is not None:
            raise error
        return cast("Result", result)

    def _repeatedly(
        self,
        request: Callable[[threading.Event], Result],
        may_pass: Callable[[Exception], bool],
        given_up: threading.Event,
    ) -> Result:
        for attempt in range(1, self.attempts + 1):
            try:
                return request(given_up)
            except Exception as error:
                if attempt == self.attempts or not may_pass(error):
                    raise
            # Exponential backoff with jitter, so that clients do not retry at the same moment.
            self.sleep(0.1 * 2**attempt * random.uniform(0.5, 1.5))  # noqa: S311
            if given_up.is_set():
                break
        raise TimeoutError
