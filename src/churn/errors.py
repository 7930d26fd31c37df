"""Errors that the user can correct: the command line shows them without a traceback."""

from collections.abc import Iterable


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


class NothingToDo(Exception):  # noqa: N818, not an error
    """There is nothing to do, so the run ends before it begins; the message says why. The exit code is 0."""


class FaultsError(ChurnError):
    """Several faults of one subject, listed one per line.

    Attributes:
        subject: What was checked, for example ``training accounts``.
        faults: One sentence for each fault.
    """

    def __init__(self, subject: str, faults: Iterable[str]) -> None:
        self.subject = subject
        self.faults = list(faults)
        lines = "".join(f"\n  - {fault}" for fault in self.faults)
        count = f"{len(self.faults)} fault{'s' if len(self.faults) > 1 else ''}"
        super().__init__(f"{subject}: {count} found, nothing was changed.{lines}")


class ParametersError(FaultsError):
    """Parameters that are unknown, of the wrong type or out of range."""


class AccountsError(FaultsError):
    """An account table that does not match its schema."""
