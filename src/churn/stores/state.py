"""State files: small JSON documents on this machine in which a part of the project keeps its state between runs.

Notes of open runs, times of notifications, the progress of the trigger, known versions of models: each is read and written
whole, and has a type. A file that is damaged or has another shape never ends a run: it is set aside with one warning, and
the state begins anew.
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Generic, TypeVar

from filelock import FileLock, Timeout
from pydantic import TypeAdapter, ValidationError

from churn.errors import ChurnError
from churn.stores.local import LocalStore

logger = logging.getLogger(__name__)

State = TypeVar("State")

DAMAGED = ".damaged-"
# Seconds to wait for another process that changes the same file, which takes milliseconds.
PATIENCE = 10.0


class StateFile(Generic[State]):
    """A JSON document with a type.

    Attributes:
        path: Its place on this machine.
    """

    def __init__(self, path: Path, shape: Any, empty: Callable[[], State]) -> None:
        """Declare the file; it need not exist.

        Args:
            path: Its place on this machine.
            shape: Type of its content, as pydantic validates it: ``dict[str, float]``, a model.
            empty: Returns the content if there is no file.
        """
        self.path = path
        self._shape: TypeAdapter[State] = TypeAdapter(shape)
        self._empty = empty

    def read(self) -> State:
        """Return the content. A damaged file is set aside with a warning, and the content is empty."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return self._empty()
        except OSError as error:
            return self._without(error.strerror or str(error))
        try:
            return self._shape.validate_json(content)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"]))
            return self._without(
                "it is empty" if not content else f"{where}: {first['msg']}" if where else first["msg"]
            )

    def _without(self, reason: str) -> State:
        aside = self.path.with_name(f"{self.path.name}{DAMAGED}{datetime.now(UTC):%Y%m%dT%H%M%S%f}")
        try:
            self.path.replace(aside)
        except FileNotFoundError:
            # Another process has set it aside in the meantime, or replaced it; it has told.
            return self._empty()
        except OSError as error:
            logger.warning("%s cannot be read and is not used: %s (%s)", self.path, reason, error.strerror or error)
            return self._empty()
        logger.warning("%s was damaged and is now %s; its state begins anew: %s", self.path, aside.name, reason)
        return self._empty()

    def write(self, content: State) -> None:
        """Replace the content, so that readers see the old or the new one, never a part.

        Raises:
            ChurnError: If it cannot be written; the old content is unchanged.
        """
        document = self._shape.dump_json(content, indent=2) + b"\n"
        LocalStore(str(self.path)).write(lambda file: file.write(document))

    def update(self, change: Callable[[State], State]) -> State:
        """Replace the content by the result of a function, while no other process does.

        Raises:
            ChurnError: If it cannot be written; the old content is unchanged.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{self.path}.lock", timeout=PATIENCE):
                content = change(self.read())
                self.write(content)
                return content
        except Timeout:
            raise ChurnError(f"{self.path} is in use by another process for more than {PATIENCE:g} seconds") from None
        except OSError as error:
            raise ChurnError(f"{self.path} cannot be written: {error.strerror or error}") from error

    def note(self, change: Callable[[State], State]) -> bool:
        """Like `update`, for what only tells: if it cannot be written, this is logged, and the work goes on.

        Returns:
            Whether it was written.
        """
        try:
            self.update(change)
        except ChurnError as error:
            logger.warning("%s", error)
            return False
        return True
