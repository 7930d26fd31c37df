"""Requests to a target over HTTP: bounded waits, the target's own limits, no redirects."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from churn.config import HttpTarget
from churn.config.secrets import REDACTION
from churn.delivery.target import TargetError
from churn.stores.patience import Patience
from churn.web.outgoing import PASSING, beginning, cause_of, send_once

# Bytes of an answer that are read.
LONGEST_ANSWER = 8 << 20
# Seconds since 1970 from which a header names a moment and not a number of seconds.
_MOMENT = 1e9


@dataclass(frozen=True)
class Answer:
    """An answer: status, headers by lower-case name, content."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    def json(self) -> Any:
        """Return the content as JSON; ``None`` if it is something else."""
        import json

        try:
            return json.loads(self.content)
        except (ValueError, RecursionError):
            return None

    @property
    def words(self) -> str:
        """Beginning of the content, for messages."""
        return beginning(REDACTION.text(self.content[:4096].decode(errors="replace")))


class HttpClient:
    """Makes requests to one target."""

    def __init__(
        self,
        settings: HttpTarget,
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Set limits.

        Args:
            settings: Attempts, waits and time-out.
            sleep: Waits for a number of seconds.
            clock: Returns the seconds since 1970.
        """
        import requests

        self._settings, self._sleep, self._clock = settings, sleep, clock
        self._session = requests.Session()
        self._not_before = 0.0

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def send(self, method: str, url: str, body: bytes, headers: Callable[[], Mapping[str, str]]) -> Answer:
        """Make a request, and repeat it while the target is busy or silent.

        Args:
            method: Method of HTTP.
            url: Address.
            body: Content; the same in all attempts.
            headers: Returns the headers of an attempt.

        Returns:
            The answer, which may be a refusal.

        Raises:
            TargetError: If there is none after all attempts, or the target asks to wait for too long.
        """
        fault = "no attempt was made"
        for attempt in range(self._settings.attempts):
            self._wait(self._not_before - self._clock())
            try:
                answer = self._once(method, url, body, headers())
            except TargetError as error:
                fault, pause = str(error), None
            else:
                pause = self._asked_pause(answer)
                self._not_before = self._clock() + pause if pause else 0.0
                if answer.status not in PASSING:
                    return answer
                fault = f"it answered {answer.status}{f': {answer.words}' if answer.words else ''}"
            if attempt + 1 < self._settings.attempts and pause is None:
                self._wait(min(self._settings.wait * 2.0**attempt, self._settings.longest_wait))
        raise TargetError(f"{fault}, after {self._settings.attempts} attempts")

    def _wait(self, seconds: float) -> None:
        if seconds > self._settings.longest_wait:
            raise TargetError(
                f"it asks to wait for {seconds:,.0f} seconds, more than longest_wait = {self._settings.longest_wait:g}; the next "
                "run goes on from here"
            )
        if seconds > 0:
            self._sleep(seconds)

    def _once(self, method: str, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        import requests

        # An attempt ends in time whatever the server sends: time-outs of libraries hold for each part of an answer.
        limit = Patience(seconds=2 * self._settings.timeout, attempts=1)
        try:
            return limit.ask(lambda _: self._ask(method, url, body, headers), lambda _: False)
        except TimeoutError:
            self._session = requests.Session()  # the other one is still in use
            raise TargetError(f"no complete answer within {limit.seconds:g} seconds") from None
        except requests.RequestException as error:
            raise TargetError(cause_of(error, self._settings.timeout)) from None

    def _ask(self, method: str, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        import requests

        timeout, ca, whole = self._settings.timeout, self._settings.ca, False
        answer = send_once(self._session, method, url, timeout=timeout, ca=ca, data=body, headers=dict(headers))
        try:
            content = answer.raw.read(LONGEST_ANSWER, decode_content=True)
            whole = len(content) < LONGEST_ANSWER
            return Answer(answer.status_code, {name.lower(): text for name, text in answer.headers.items()}, content)
        except Exception as error:
            raise requests.ConnectionError(error) from None
        finally:
            # A connection with something left of an answer is not used again.
            answer.raw.release_conn() if whole else answer.close()

    def _asked_pause(self, answer: Answer) -> float | None:
        """Return the seconds that the target asks to wait before the next request; ``None`` if it does not ask."""
        if (asked := self._seconds(answer.headers.get("retry-after"))) is not None:
            return asked
        for prefix in ("x-ratelimit", "ratelimit"):
            left, reset = (answer.headers.get(f"{prefix}-{name}") for name in ("remaining", "reset"))
            if left is not None and left.strip() == "0":
                return self._seconds(reset)
        return None

    def _seconds(self, text: str | None) -> float | None:
        if text is None:
            return None
        try:
            number = float(text)
        except ValueError:
            try:
                number = parsedate_to_datetime(text).timestamp()
            except ValueError:
                return None
        if not 0 <= number < 1e14:
            return None
        if number >= 100 * _MOMENT:  # in milliseconds
            number /= 1000
        return max(0.0, number - self._clock()) if number >= _MOMENT else number
