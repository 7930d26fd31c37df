"""Findings: what is to be watched and what is an alarm."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Status = Literal["ok", "watch", "alarm"]
SEVERITY: dict[Status, int] = {"ok": 0, "watch": 1, "alarm": 2}


class Finding(NamedTuple):
    """A status, and the sentence that says why."""

    status: Status
    sentence: str


def judged(sentence: str, certain: bool, outcomes: int) -> Finding:
    """An alarm, or a matter to watch where so few outcomes may show it by chance."""
    return (
        Finding("alarm", sentence)
        if certain
        else Finding("watch", f"{sentence}; with {outcomes:,} outcomes it may be chance")
    )


def worst(findings: Sequence[Finding]) -> Status:
    """The gravest status among findings; ``ok`` where there are none."""
    return max((finding.status for finding in findings), key=SEVERITY.__getitem__, default="ok")


def reaches(value: float, limit: float) -> bool:
    """Whether a value has come to a limit, give or take what a difference of shares loses in rounding."""
    return value >= limit - 1e-12


def mean_of(values: NDArray[Any]) -> float | None:
    """Mean of values, shape (n,); None of none."""
    return float(np.mean(values)) if len(values) else None


def percent(share: float) -> str:
    """A share from 0 to 1 as a percentage with one decimal."""
    return f"{100 * share:.1f}%"
