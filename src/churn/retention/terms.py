"""What a reason can be about: the terms of a model, what is typical of them, and which belong together.

A term is a numeric column, a ratio or a categorical column. A ratio and its two columns are one reason: the terms of a
model are in groups, and the contribution of a reason is that of its group.
"""

import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn.model import Encoder, Profile
from churn.model.encoder import divide
from churn.model.profile import NumericProfile
from churn.tables import as_numbers

UNKNOWN = "unknown"


def typical_values(encoder: Encoder, reference: Profile) -> dict[str, float | str]:
    """Return the typical value of each column that a model uses.

    Args:
        encoder: The model's encoder; its medians are the typical values of numeric columns.
        reference: Profile of the training rows; the typical value of a categorical column is its most frequent category
            that the encoder knows, of equally frequent ones the first in alphabetical order.

    Returns:
        Typical values by column, in the order of the encoder's columns: a median, in the column's unit, or a category;
        ``unknown`` for a categorical column without a known category.
    """
    typical: dict[str, float | str] = {name: float(encoder.medians[name]) for name in encoder.numeric}
    for name, vocabulary in encoder.known.items():
        profile = reference.categorical[name]
        counts = dict(zip(profile.values, profile.counts, strict=True))
        known = [(-counts.get(value, 0), value) for value in vocabulary]
        typical[name] = min(known)[1] if known else UNKNOWN
    return typical


@dataclass(frozen=True)
class Term:
    """A numeric column, a ratio or a categorical column.

    Attributes:
        name: Name of the column or the ratio.
        stem: Unique prefix of its codes, in capitals.
        typical: The median, or the most frequent category.
        columns: The numerator and the denominator of a ratio.
        profile: Profile of the training rows, if the model has one.
    """

    name: str
    stem: str
    typical: float | str
    columns: tuple[str, str] | None = None
    profile: NumericProfile | None = None

    def values(self, accounts: pd.DataFrame) -> NDArray[np.float64]:
        """Return the numbers of canonical accounts, n rows, nan where missing, shape (n,)."""
        if self.columns is None:
            return as_numbers(accounts[self.name])[0].to_numpy(np.float64)
        over, under = (as_numbers(accounts[name])[0].to_numpy(np.float64) for name in self.columns)
        return divide(over, under)

    def value(self, account: Mapping[str, Any]) -> Any:
        """Return the value of one canonical account."""
        if self.columns is None:
            return account[self.name]
        over, under = (account[name] for name in self.columns)
        return over / under if under else float("nan")

    def close(self, limit: float) -> "Closeness":
        """Return which numbers are close to the typical one.

        Args:
            limit: Largest share of the training rows between the number and the typical one; without a profile, largest
                distance as a share of the typical number.
        """
        if isinstance(self.typical, str):
            return Closeness((), (False,), 0.0, 0.0)
        fences = np.empty(0) if self.profile is None else self.profile.fences
        if self.profile is None or not len(fences):
            return Closeness((), (False,), self.typical, limit * abs(self.typical))
        apart = np.abs(self.profile.middle_ranks() - self.profile.rank_of(self.typical))
        return Closeness(tuple(fences.tolist()), tuple((apart <= limit).tolist()), self.typical, 0.0)


@dataclass(frozen=True)
class Closeness:
    """Which numbers are close to a typical one.

    Attributes:
        fences: Borders of bins, ascending.
        bins: For each place between the borders whether its numbers are close.
        typical: The typical number.
        distance: Distance up to which numbers are close in any case.
    """

    fences: tuple[float, ...]
    bins: tuple[bool, ...]
    typical: float
    distance: float

    def of(self, numbers: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return whether each number is close, shape (n,)."""
        found = np.array(self.bins)[np.searchsorted(self._fences, numbers)]
        return np.asarray((found | (np.abs(numbers - self.typical) <= self.distance)) & ~np.isnan(numbers))

    def is_close(self, number: float) -> bool:
        """Return whether one number is close."""
        if number != number:
            return False
        return self.bins[bisect_left(self.fences, number)] or abs(number - self.typical) <= self.distance

    @cached_property
    def _fences(self) -> NDArray[np.float64]:
        return np.array(self.fences, dtype=np.float64)


@dataclass(frozen=True)
class Terms:
    """The terms of a model, in the order of `Encoder.terms`.

    Attributes:
        items: The terms.
        groups: Positions of the terms of each reason. A ratio is in one group with its columns; a column of two ratios is
            with the first that has it above the line, or else the first of them.
    """

    items: tuple[Term, ...]
    groups: tuple[tuple[int, ...], ...] = field(default=())

    @classmethod
    def of(cls, encoder: Encoder, reference: Profile) -> Self:
        """Return the terms of a model, from its encoder and its reference profile."""
        typical = typical_values(encoder, reference)
        names = encoder.terms
        ratios = {ratio.name: (ratio.numerator, ratio.denominator) for ratio in encoder.ratios}
        items = tuple(
            Term(
                name,
                stem,
                float(encoder.medians[name]) if name in ratios else typical[name],
                ratios.get(name),
                reference.ratios.get(name) if name in ratios else reference.numeric.get(name),
            )
            for name, stem in zip(names, stems(names), strict=True)
        )
        first: dict[str, str] = {}
        for place in (0, 1):
            for name, columns in ratios.items():
                first.setdefault(columns[place], name)
        members: dict[str, list[int]] = {}
        for position, name in enumerate(names):
            members.setdefault(first.get(name, name), []).append(position)
        return cls(items, tuple(map(tuple, members.values())))

    @property
    def names(self) -> list[str]:
        """Names of the terms."""
        return [item.name for item in self.items]


def stems(names: Sequence[str]) -> list[str]:
    """Return for each name the unique prefix of its codes, in capitals."""
    found: list[str] = []
    for name in names:
        stem = re.sub(r"\W+", "_", name).strip("_").upper() or "COLUMN"
        again = 2
        unique = stem
        while unique in found:
            unique, again = f"{stem}_{again}", again + 1
        found.append(unique)
    return found
