"""Errors that the user can correct: the command line shows them without a traceback."""

from collections.abc import Iterable
from difflib import get_close_matches


class ChurnError(ValueError):
    """An error in the input, the configuration or the stores that the user can correct.

    The message names the file, column or parameter, the value, what was expected and the remedy.

    Attributes:
        exit_code: Exit code of the command line.
    """

    exit_code = 1


class NotTrackedError(ChurnError):
    """The run finished and published its results, but MLflow has no record of it."""

    exit_code = 3


class NotDeliveredError(ChurnError):
    """The run finished, but a target of the delivery did not get all of the results."""

    exit_code = 4


class NothingToDo(Exception):  # noqa: N818, not an error
    """There is nothing to do, so the run ends before it begins; the message says why. The exit code is 0."""


class FaultsError(ChurnError):
    """Several faults of one subject, listed one per line.

    Attributes:
        subject: What was checked, for example ``training accounts``.
        faults: One sentence for each fault.
        written: Names of the data sets that the run had stored before the faults were found.
    """

    def __init__(self, subject: str, faults: Iterable[str]) -> None:
        self.subject = subject
        self.faults = list(faults)
        self.written: tuple[str, ...] = ()
        super().__init__(subject, self.faults)

    def __str__(self) -> str:
        count = f"{len(self.faults)} fault{'s' if len(self.faults) > 1 else ''}"
        when = f" after this run had stored {', '.join(self.written)}" if self.written else ", nothing was changed"
        return f"{self.subject}: {count} found{when}." + "".join(f"\n  - {fault}" for fault in self.faults)


class ParametersError(FaultsError):
    """Parameters that are unknown, of the wrong type or out of range."""


class AccountsError(FaultsError):
    """An account table that does not match its schema."""


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is closest to an unknown one; ``None`` if none is close."""
    return next(iter(get_close_matches(name, [each for each in known if each != name], n=1, cutoff=0.5)), None)
