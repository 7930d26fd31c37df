"""Profiles: binned counts of the columns of an account table and of its scores, which add up over its parts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from churn.tables.cells import respelled

FINE_BINS = 100


@dataclass(frozen=True)
class NumericProfile:
    """Counts of a numeric column.

    Bin ``i`` holds the values above ``edges[i - 1]`` and up to ``edges[i]``; the first begins at the reference's
    ``minimum``, the last ends at its ``maximum``. A column with at most 100 different values has a bin for each of them.

    Attributes:
        edges: The k inner edges of k + 1 bins, ascending, in the column's unit.
        counts: Rows in each of the k + 1 bins.
        minimum: Smallest finite value of the reference; None if it has no value.
        maximum: Largest finite value of the reference; None if it has no value.
        missing: Rows without a value.
        below: Rows under the minimum of the reference.
        above: Rows over the maximum of the reference.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    minimum: float | None
    maximum: float | None
    missing: int = 0
    below: int = 0
    above: int = 0

    def __post_init__(self) -> None:
        if len(self.counts) != len(self.edges) + 1:
            raise ValueError(
                f"{len(self.edges)} edges require {len(self.edges) + 1} counts, but there are {len(self.counts)}"
            )

    @property
    def present(self) -> int:
        """Rows with a value."""
        return sum(self.counts) + self.below + self.above

    @property
    def rows(self) -> int:
        """Rows counted, with and without a value."""
        return self.present + self.missing

    @property
    def fences(self) -> NDArray[np.float64]:
        """Borders of the bins, shape (k + 2,): a value is in bin i if ``searchsorted`` gives i + 1; none without values."""
        if self.minimum is None or self.maximum is None:
            return np.empty(0)
        return np.array([np.nextafter(self.minimum, -np.inf), *self.edges, self.maximum])

    def middle_ranks(self) -> NDArray[np.float64]:
        """Return for each place between the `fences` the share of the rows below it, with half of those in it.

        Returns:
            Shares from 0 to 1, ascending, shape (k + 3,): values under the minimum, each bin, values over the maximum.
        """
        counts = np.array([0, *self.counts, 0], dtype=np.float64)
        return np.asarray((np.cumsum(counts) - counts / 2) / max(1.0, counts.sum()))

    def rank_of(self, value: float) -> float:
        """Return the share of the rows below a value, with half of those in its bin if it is the upper border of that."""
        fences = self.fences
        place = int(np.searchsorted(fences, value))
        if place < len(fences) and fences[place] == value:
            return float(self.middle_ranks()[place])
        # Between two values that rows have, such as the median of an even number of rows.
        return sum(self.counts[: max(0, place - 1)]) / max(1, sum(self.counts))

    def count(self, values: ArrayLike | pd.Series) -> "NumericProfile":
        """Count other rows in the bins of this profile.

        Args:
            values: Numbers, shape (n,); nan or NA where missing.

        Returns:
            A profile with the same bins and the counts of the rows given.
        """
        numbers = _floats(values)
        known = numbers[~np.isnan(numbers)]
        missing = len(numbers) - len(known)
        if self.minimum is None or self.maximum is None:
            return replace(self, counts=(len(known),), missing=missing, below=0, above=0)
        fences = self.fences
        counts = np.bincount(np.searchsorted(fences, known), minlength=len(fences) + 1).tolist()
        return replace(self, counts=tuple(counts[1:-1]), missing=missing, below=counts[0], above=counts[-1])

    def __add__(self, other: "NumericProfile") -> "NumericProfile":
        if (self.edges, self.minimum, self.maximum) != (other.edges, other.minimum, other.maximum):
            raise ValueError("profiles can only be added if they have the same bins; count both with one reference")
        return replace(
            self,
            counts=tuple(mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)),
            missing=self.missing + other.missing,
            below=self.below + other.below,
            above=self.above + other.above,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types, from which `from_dict` restores an equal profile."""
        return {
            "edges": list(self.edges),
            "counts": list(self.counts),
            "minimum": self.minimum,
            "maximum": self.maximum,
            "missing": self.missing,
            "below": self.below,
            "above": self.above,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Restore a profile from the result of `to_dict`."""
        return cls(
            edges=tuple(float(edge) for edge in data["edges"]),
            counts=tuple(int(count) for count in data["counts"]),
            minimum=None if data["minimum"] is None else float(data["minimum"]),
            maximum=None if data["maximum"] is None else float(data["maximum"]),
            missing=int(data["missing"]),
            below=int(data["below"]),
            above=int(data["above"]),
        )


@dataclass(frozen=True)
class CategoricalProfile:
    """Counts of a categorical column.

    Attributes:
        values: Categories of the reference, ascending.
        counts: Rows of each of them.
        missing: Rows without a category.
        unseen: Rows with a category that the reference does not have.
    """

    values: tuple[str, ...]
    counts: tuple[int, ...]
    missing: int = 0
    unseen: int = 0

    def __post_init__(self) -> None:
        if len(self.counts) != len(self.values):
            raise ValueError(f"there are {len(self.values)} categories, but {len(self.counts)} counts")

    @property
    def present(self) -> int:
        """Rows with a category, known or not."""
        return sum(self.counts) + self.unseen

    @property
    def rows(self) -> int:
        """Rows counted, with and without a category."""
        return self.present + self.missing

    def count(self, values: pd.Series) -> "CategoricalProfile":
        """Count other rows in the categories of this profile.

        Args:
            values: Categories, shape (n,); NA where missing.

        Returns:
            A profile with the same categories and the counts of the rows given.
        """
        found = _category_counts(values)
        present = sum(found.values())
        # Each is counted once, though an earlier version may have stored two spellings of it.
        counts = tuple(found.pop(value, 0) for value in respelled(self.values))
        return replace(self, counts=counts, missing=len(values) - present, unseen=sum(found.values()))

    def __add__(self, other: "CategoricalProfile") -> "CategoricalProfile":
        if self.values != other.values:  # noqa: PD011, these are no pandas values
            raise ValueError(
                "profiles can only be added if they have the same categories; count both with one reference"
            )
        return replace(
            self,
            counts=tuple(mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)),
            missing=self.missing + other.missing,
            unseen=self.unseen + other.unseen,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types, from which `from_dict` restores an equal profile."""
        return {
            "values": list(self.values),
            "counts": list(self.counts),
            "missing": self.missing,
            "unseen": self.unseen,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Restore a profile from the result of `to_dict`."""
        return cls(
            values=tuple(str(value) for value in data["values"]),
            counts=tuple(int(count) for count in data["counts"]),
            missing=int(data["missing"]),
            unseen=int(data["unseen"]),
        )


@dataclass(frozen=True)
class Profile:
    """Counts of the columns of an account table and of the scores of its accounts.

    Attributes:
        rows: Accounts counted.
        numeric: Profile of each numeric column.
        categorical: Profile of each categorical column.
        ratios: Profile of each ratio, in a model's reference only.
        score: Profile of the probabilities; None if there are no scores. In a model's reference these are out-of-fold
            scores, which may be of fewer rows than the columns.
    """

    rows: int
    numeric: dict[str, NumericProfile] = field(default_factory=dict)
    categorical: dict[str, CategoricalProfile] = field(default_factory=dict)
    score: NumericProfile | None = None
    ratios: dict[str, NumericProfile] = field(default_factory=dict)

    def with_score(self, score: NumericProfile | None) -> "Profile":
        """Return the same profile with a profile of the scores, see `fit_score_profile`."""
        return replace(self, score=score)

    def __add__(self, other: "Profile") -> "Profile":
        check_same_columns(self, other)
        return Profile(
            rows=self.rows + other.rows,
            numeric={name: mine + other.numeric[name] for name, mine in self.numeric.items()},
            categorical={name: mine + other.categorical[name] for name, mine in self.categorical.items()},
            score=None if self.score is None or other.score is None else self.score + other.score,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types, from which `from_dict` restores an equal profile."""
        return {
            "rows": self.rows,
            "numeric": {name: profile.to_dict() for name, profile in self.numeric.items()},
            "categorical": {name: profile.to_dict() for name, profile in self.categorical.items()},
            "score": None if self.score is None else self.score.to_dict(),
            **({"ratios": {name: item.to_dict() for name, item in self.ratios.items()}} if self.ratios else {}),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Restore a profile from the result of `to_dict`."""
        return cls(
            rows=int(data["rows"]),
            numeric={name: NumericProfile.from_dict(item) for name, item in data["numeric"].items()},
            categorical={name: CategoricalProfile.from_dict(item) for name, item in data["categorical"].items()},
            score=None if data["score"] is None else NumericProfile.from_dict(data["score"]),
            # Models that were stored before reasons compared ratios have no entry for them.
            ratios={name: NumericProfile.from_dict(item) for name, item in data.get("ratios", {}).items()},
        )


def fit_profile(
    frame: pd.DataFrame,
    numeric: Sequence[str],
    categorical: Sequence[str],
    ratios: Mapping[str, NDArray[np.float64]] | None = None,
) -> Profile:
    """Learn the bins of a reference table and count its rows.

    The edges of a numeric column are its percentiles, or its values if it has at most 100 different ones.

    Args:
        frame: Account rows, shape (n, at least the named columns).
        numeric: Names of the numeric columns.
        categorical: Names of the categorical columns.
        ratios: Values of ratios of its columns, shape (n,) each.

    Returns:
        The profile, without scores.

    Raises:
        ValueError: A column is not in the frame.
    """
    _check_columns(frame, [*numeric, *categorical])
    return Profile(
        rows=len(frame),
        numeric={name: _fit_numeric(frame[name]) for name in numeric},
        categorical={name: _fit_categorical(frame[name]) for name in categorical},
        ratios={name: _fit_numeric(values) for name, values in (ratios or {}).items()},
    )


def fit_score_profile(score: ArrayLike) -> NumericProfile:
    """Learn the bins of the reference's probabilities, shape (n,), and count them."""
    return _fit_numeric(np.asarray(score, dtype=np.float64))


def count_profile(reference: Profile, frame: pd.DataFrame, score: ArrayLike | None = None) -> Profile:
    """Count other rows in the bins of a reference.

    Args:
        reference: Profile whose bins are used.
        frame: Account rows, shape (m, at least the columns of the reference).
        score: Probabilities of these rows, shape (m,); None leaves the scores out.

    Returns:
        Profile of these rows; profiles of the parts of a table add up to the profile of the table.

    Raises:
        ValueError: A column is not in the frame, or scores are given but the reference has no profile of scores.
    """
    _check_columns(frame, [*reference.numeric, *reference.categorical])
    if score is not None and reference.score is None:
        raise ValueError("scores cannot be counted: the reference profile has no scores; attach them with with_score")
    return Profile(
        rows=len(frame),
        numeric={name: profile.count(frame[name]) for name, profile in reference.numeric.items()},
        categorical={name: profile.count(frame[name]) for name, profile in reference.categorical.items()},
        score=None if score is None or reference.score is None else reference.score.count(score),
    )


def _fit_numeric(values: ArrayLike | pd.Series) -> NumericProfile:
    numbers = _floats(values)
    finite = np.sort(numbers[np.isfinite(numbers)])
    if len(finite) == 0:
        return NumericProfile(edges=(), counts=(0,), minimum=None, maximum=None).count(numbers)
    distinct = finite[np.concatenate([[True], finite[1:] > finite[:-1]])]
    if len(distinct) > FINE_BINS:
        ranks = (np.arange(1, FINE_BINS) * len(finite) - 1) // FINE_BINS
        edges = np.unique(finite[ranks])
        edges = edges[edges < finite[-1]]
    else:
        edges = distinct[:-1]
    bins = NumericProfile(
        edges=tuple(edges.tolist()),
        counts=(0,) * (len(edges) + 1),
        minimum=float(finite[0]),
        maximum=float(finite[-1]),
    )
    return bins.count(numbers)


def _fit_categorical(values: pd.Series) -> CategoricalProfile:
    found = _category_counts(values)
    return CategoricalProfile(values=tuple(sorted(found)), counts=(0,) * len(found)).count(values)


def _floats(values: ArrayLike | pd.Series) -> NDArray[np.float64]:
    if isinstance(values, pd.Series):
        return values.to_numpy(dtype=np.float64, na_value=np.nan)
    return np.asarray(values, dtype=np.float64)


def _category_counts(values: pd.Series) -> dict[str, int]:
    """Count the rows of each category; categories of another type count as their text."""
    counts: dict[str, int] = {}
    for value, count in values.value_counts(dropna=True).items():
        counts[str(value)] = counts.get(str(value), 0) + int(count)
    # A categorical dtype also lists the categories that no row has.
    return {value: count for value, count in counts.items() if count > 0}


def _check_columns(frame: pd.DataFrame, columns: Sequence[str]) -> None:
    lacking = [name for name in columns if name not in frame.columns]
    if lacking:
        raise ValueError(f"the table lacks columns that its profile needs: {', '.join(lacking)}")


def check_same_columns(one: Profile, other: Profile, scores: bool = True) -> None:
    """Check that two profiles have the same columns.

    Args:
        one: First profile.
        other: Second profile.
        scores: Whether to require that both or neither have scores.

    Raises:
        ValueError: Names the columns that only one of them has.
    """
    differing = sorted({*one.numeric} ^ {*other.numeric} | ({*one.categorical} ^ {*other.categorical}))
    if differing:
        raise ValueError(f"the profiles have different columns; only one of them has: {', '.join(differing)}")
    if scores and (one.score is None) != (other.score is None):
        raise ValueError("only one of the profiles has scores; count both with scores or both without")
