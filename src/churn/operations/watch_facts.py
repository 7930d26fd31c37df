"""What `churn watch` knows beside its progress: the current scores, the outcomes, and how its looks have gone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

# Looks in a row that fail before the trigger counts as failing.
MOST_FAILED = 3


class Published(NamedTuple):
    """The current scores.

    Attributes:
        run_id: Id of the run that published them.
        at: Time of the publication, in seconds since 1970; ``None`` if it is not known.
        rows: Number of accounts.
        health: Status of the health report; ``None`` if there is none.
        alarms: Number of its alarms; ``None`` if there is no report.
        champion_since: Time at which the champion was trained; ``None`` if it is not known.
    """

    run_id: str
    at: float | None = None
    rows: int | None = None
    health: str | None = None
    alarms: int | None = None
    champion_since: float | None = None


class Facts(NamedTuple):
    """What the trigger finds at a look, besides the inputs.

    Attributes:
        outcomes: Signatures of the outcome files by name, which scoring monitors too.
        published: The current scores; ``None`` if there are none.
    """

    outcomes: Mapping[str, str] = {}
    published: Published | None = None


@dataclass
class Looks:
    """How the looks have gone.

    Attributes:
        last_good: Time of the last one that succeeded, in seconds since 1970.
        failed: Number of those since then, which have failed.
        error: Why the last one failed, without secrets; ``None`` if it did not.
        good: Number of those that succeeded, since the start.
        bad: Number of those that failed, since the start.
    """

    last_good: float | None = None
    failed: int = 0
    error: str | None = None
    good: int = 0
    bad: int = 0
