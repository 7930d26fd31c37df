"""What the parts of the service hand to each other: scopes, answers, and refusals."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Scope = Literal["score", "read", "admin"]

JSON = "application/json"


@dataclass(frozen=True)
class Answer:
    """An answer to a request.

    Attributes:
        body: Its content.
        status: HTTP status.
        kind: Media type.
        headers: Further headers.
    """

    body: bytes
    status: int = 200
    kind: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


def json_answer(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """Return an answer with a JSON document."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Answer(text.encode("utf-8", "backslashreplace"), status, headers=headers or {})


class Refusal(Exception):  # noqa: N818, an answer and not an error of the program
    """A request that is not answered as asked.

    Attributes:
        status: HTTP status.
        code: A word for programs.
        faults: Faults of rows: ``row`` (from 1), ``field`` and ``message``.
        headers: Further headers of the answer.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        faults: Sequence[Mapping[str, Any]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.faults = status, code, list(faults)
        self.headers = dict(headers or {})

    def answer(self, *, plain_error: bool = False) -> Answer:
        """Return the answer.

        Args:
            plain_error: Whether ``error`` is a text, as the Open Inference Protocol has it, or an object.
        """
        message = str(self)
        content: dict[str, Any] = {"error": message if plain_error else {"code": self.code, "message": message}}
        if self.faults:
            content["faults"] = self.faults
        return json_answer(content, self.status, self.headers)


def later(status: int, code: str, message: str, seconds: int = 1) -> Refusal:
    """Return a refusal after which the client may come again."""
    return Refusal(status, code, message, headers={"Retry-After": str(seconds)})
