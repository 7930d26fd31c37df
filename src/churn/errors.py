"""Errors that are the user's to mend: the command line shows them without a traceback."""

from collections.abc import Iterable


class ChurnError(ValueError):
    """Something in the input, the configuration or the stores that the user can put right.

    The message names the file, column or parameter, the value, what was expected and the way out.

    Attributes:
        exit_code: With which the command line ends.
    """

    exit_code = 1


class NotTrackedError(ChurnError):
    """Everything was done and published, but MLflow does not know of it."""

    exit_code = 3


class NothingToDo(Exception):  # noqa: N818, it is none
    """A run ends before it begins, as there is nothing to do; the message says why. The command line ends with 0."""


class FaultsError(ChurnError):
    """Several faults found together, listed one a line.

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
    """An account table that does not fit its declared roles."""
