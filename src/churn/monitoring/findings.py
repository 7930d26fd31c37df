"""Findings of monitoring: statuses from ``ok`` to ``alarm``, each with a sentence."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from churn.config.health import SEVERITY, Status


class Finding(NamedTuple):
    """A status, and the sentence with the reason."""

    status: Status
    sentence: str


def worst(findings: Sequence[Finding]) -> Status:
    """Return the most severe status among findings; ``ok`` if there are none."""
    return max((finding.status for finding in findings), key=SEVERITY.__getitem__, default="ok")


def reaches(value: float, limit: float) -> bool:
    """Return whether a value is at or above a limit, up to rounding of a difference of shares."""
    return value >= limit - 1e-12


def mean_of(values: NDArray[Any]) -> float | None:
    """Return the mean of values, shape (n,); None if there are none."""
    return float(np.mean(values)) if len(values) else None


def percent(share: float) -> str:
    """Format a share from 0 to 1 as a percentage with one decimal."""
    return f"{100 * share:.1f}%"
