"""Waiting for a server that may not answer: several attempts, within a limit of time."""

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
    """How long a request is waited for.

    Attributes:
        seconds: What it may take, all its attempts included.
        attempts: How often it is made at most.
        sleep: Waits between attempts, for a number of seconds.
    """

    seconds: float = 40.0
    attempts: int = 6
    sleep: Callable[[float], object] = time.sleep

    def ask(self, request: Callable[[threading.Event], Result], may_pass: Callable[[Exception], bool]) -> Result:
        """Make a request, and again where that may help.

        Args:
            request: Makes it. The event is set when nobody waits for the answer any more.
            may_pass: Whether another attempt may help after an error.

        Raises:
            TimeoutError: If there is no answer in time. The attempt that goes on then is left to itself: libraries bound
                each wait for bytes, not the sum of them, and nothing bounds the look-up of a name.
            Exception: What the last attempt raised.
        """
        given_up = threading.Event()
        outcomes: SimpleQueue[tuple[Result | None, BaseException | None]] = SimpleQueue()

        def run() -> None:
            try:
                outcomes.put((self._repeatedly(request, may_pass, given_up), None))
            except BaseException as error:  # raised again where it is waited for
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
            # Twice as long each time, and not at the same moment as everybody else.
            self.sleep(0.1 * 2**attempt * random.uniform(0.5, 1.5))  # noqa: S311
            if given_up.is_set():
                break
        raise TimeoutError
