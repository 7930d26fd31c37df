"""Profiles of account tables, and how far one table has moved from another.

A profile holds counts in bins that were learned on the reference (the rows a model was trained on). Profiles of other
rows are counted in the same bins and can be added, so that a table can be read a partition at a time, and they are
small enough to travel as JSON with the model and with the results.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

FINE_BINS = 100
NUMERIC_BINS = 10
CATEGORICAL_BINS = 20
SHARE_FLOOR = 1e-3
UNSEEN_LABEL = "never seen before"

# Standard normal quantile that chance exceeds once in a thousand times.
CHANCE_QUANTILE = 3.0902


@dataclass(frozen=True)
class NumericProfile:
    """Counts of a column of numbers.

    Bin ``i`` holds the values above ``edges[i - 1]`` and up to ``edges[i]``; the first begins at the reference's
    ``minimum``, the last ends at its ``maximum``. A column with at most 100 different values has a bin for each of them.

    Attributes:
        edges: Inner edges, ascending, in the column's unit; k of them for k + 1 bins.
        counts: Rows in each bin, k + 1 of them.
        minimum: Smallest finite value of the reference; None where it has none.
        maximum: Largest finite value of the reference; None where it has none.
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
                f"{len(self.edges)} edges make {len(self.edges) + 1} bins, but there are {len(self.counts)} counts"
            )

    @property
    def present(self) -> int:
        """Rows with a value."""
        return sum(self.counts) + self.below + self.above

    @property
    def rows(self) -> int:
        """Rows counted, with and without a value."""
        return self.present + self.missing

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
        fences = np.array([np.nextafter(self.minimum, -np.inf), *self.edges, self.maximum])
        counts = np.bincount(np.searchsorted(fences, known), minlength=len(fences) + 1).tolist()
        return replace(self, counts=tuple(counts[1:-1]), missing=missing, below=counts[0], above=counts[-1])

    def __add__(self, other: "NumericProfile") -> "NumericProfile":
        if (self.edges, self.minimum, self.maximum) != (other.edges, other.minimum, other.maximum):
            raise ValueError("profiles can only be added where they have the same bins; count both with one reference")
        return replace(
            self,
            counts=tuple(mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)),
            missing=self.missing + other.missing,
            below=self.below + other.below,
            above=self.above + other.above,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; ``from_dict`` gives the equal profile back."""
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
        """The profile that ``to_dict`` wrote."""
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
    """Counts of a column of categories.

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
        counts = tuple(found.get(value, 0) for value in self.values)
        present = sum(found.values())
        return replace(self, counts=counts, missing=len(values) - present, unseen=present - sum(counts))

    def __add__(self, other: "CategoricalProfile") -> "CategoricalProfile":
        if self.values != other.values:  # noqa: PD011, these are no pandas values
            raise ValueError(
                "profiles can only be added where they have the same categories; count both with one reference"
            )
        return replace(
            self,
            counts=tuple(mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)),
            missing=self.missing + other.missing,
            unseen=self.unseen + other.unseen,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; ``from_dict`` gives the equal profile back."""
        return {
            "values": list(self.values),
            "counts": list(self.counts),
            "missing": self.missing,
            "unseen": self.unseen,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The profile that ``to_dict`` wrote."""
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
        numeric: Profile of each column of numbers.
        categorical: Profile of each column of categories.
        score: Profile of the probabilities; None where there are none. Its rows may be others than those of the columns:
            a model's scores are profiled on rows that it was not fitted on.
    """

    rows: int
    numeric: dict[str, NumericProfile] = field(default_factory=dict)
    categorical: dict[str, CategoricalProfile] = field(default_factory=dict)
    score: NumericProfile | None = None

    def with_score(self, score: NumericProfile | None) -> "Profile":
        """The same profile with the profile of the scores that ``fit_score_profile`` gave."""
        return replace(self, score=score)

    def __add__(self, other: "Profile") -> "Profile":
        _check_same_columns(self, other)
        return Profile(
            rows=self.rows + other.rows,
            numeric={name: mine + other.numeric[name] for name, mine in self.numeric.items()},
            categorical={name: mine + other.categorical[name] for name, mine in self.categorical.items()},
            score=None if self.score is None or other.score is None else self.score + other.score,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; ``from_dict`` gives the equal profile back."""
        return {
            "rows": self.rows,
            "numeric": {name: profile.to_dict() for name, profile in self.numeric.items()},
            "categorical": {name: profile.to_dict() for name, profile in self.categorical.items()},
            "score": None if self.score is None else self.score.to_dict(),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The profile that ``to_dict`` wrote."""
        return cls(
            rows=int(data["rows"]),
            numeric={name: NumericProfile.from_dict(item) for name, item in data["numeric"].items()},
            categorical={name: CategoricalProfile.from_dict(item) for name, item in data["categorical"].items()},
            score=None if data["score"] is None else NumericProfile.from_dict(data["score"]),
        )


class ColumnDrift(NamedTuple):
    """How far one column has moved between the reference and the analysis; see ``compare_profiles``."""

    column: str
    kind: Literal["numeric", "categorical", "score"]
    psi: float | None
    psi_chance: float | None
    jensen_shannon: float | None
    ks: float | None
    missing_reference: float | None
    missing_analysis: float | None
    unseen_share: float | None


class Outline(NamedTuple):
    """Shares of the rows with a value in a few bins, for drawing; each tuple has one value a bar."""

    labels: tuple[str, ...]
    reference: tuple[float, ...]
    analysis: tuple[float, ...]


def fit_profile(frame: pd.DataFrame, numeric: Sequence[str], categorical: Sequence[str]) -> Profile:
    """Learn the bins of a reference table and count its rows.

    The edges of a column of numbers are its percentiles, or its values where it has at most 100 different ones.

    Args:
        frame: Account rows, shape (n, at least the columns named).
        numeric: Names of the columns of numbers.
        categorical: Names of the columns of categories.

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
    )


def fit_score_profile(score: ArrayLike) -> NumericProfile:
    """Learn the bins of a reference's probabilities, shape (n,), and count them."""
    return _fit_numeric(np.asarray(score, dtype=np.float64))


def count_profile(reference: Profile, frame: pd.DataFrame, score: ArrayLike | None = None) -> Profile:
    """Count other rows in the bins of a reference.

    Args:
        reference: Profile whose bins are used.
        frame: Account rows, shape (m, at least the columns of the reference).
        score: Probabilities of these rows, shape (m,); None leaves the scores out.

    Returns:
        Profile of the rows given; profiles of the parts of a table add up to the profile of the table.

    Raises:
        ValueError: A column is not in the frame, or scores are given and the reference has none.
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


def compare_profiles(reference: Profile, analysis: Profile) -> list[ColumnDrift]:
    """How far each column, and the score, has moved.

    - ``psi``: population stability index, the sum over bins of (a - r) ln(a / r) of the shares a and r (Siddiqi, Credit
      Risk Scorecards, 2006; symmetric Kullback-Leibler divergence). The bins are at most 10 of about equal mass in the
      reference, or its 19 most frequent categories and the rest; missing values, values under and over the range of the
      reference and unseen categories are bins of their own where either side has them. A share below 0.001, or below
      half a row of the smaller table where that is more, is raised to it, so that empty bins stay finite. The usual
      limits are 0.1 and 0.25.
    - ``psi_chance``: the index that two samples of these sizes from one distribution exceed once in a thousand times:
      the 99.9 % quantile of chi-squared with bins - 1 degrees of freedom, times 1/rows + 1/rows (Yurdakul and Naranjo,
      2020, doi:10.21314/JRMV.2020.227; quantile by Wilson and Hilferty, 1931). Below it, a movement proves nothing.
    - ``jensen_shannon``: square root of the Jensen-Shannon divergence to base 2 on the same bins, 0 to 1 (Endres and
      Schindelin, 2003, doi:10.1109/TIT.2003.813506). No floor is needed.
    - ``ks``: largest difference of the two cumulative distributions at the up to 100 fine edges (Kolmogorov-Smirnov),
      of the rows with a value; less than the exact one by at most the mass of one fine bin. None for categories.
    - ``missing_reference``, ``missing_analysis``: shares of the rows without a value.
    - ``unseen_share``: share of the analysis rows with a value that the reference does not have: an unseen category, or
      a number outside its range.

    Args:
        reference: Profile that the bins were learned on.
        analysis: Profile counted with ``count_profile`` in these bins.

    Returns:
        One entry a column, in the order of the reference, and last the score (named ``score``) where both have it.
        Figures are None where there are no rows to make them of.

    Raises:
        ValueError: The profiles have different columns or bins.
    """
    _check_same_columns(reference, analysis, scores=False)
    drifts = [_compare(name, "numeric", mine, analysis.numeric[name]) for name, mine in reference.numeric.items()]
    drifts += [
        _compare(name, "categorical", mine, analysis.categorical[name]) for name, mine in reference.categorical.items()
    ]
    if reference.score is not None and analysis.score is not None:
        drifts.append(_compare("score", "score", reference.score, analysis.score))
    return drifts


def outline(
    reference: NumericProfile | CategoricalProfile, analysis: NumericProfile | CategoricalProfile, bars: int = 20
) -> Outline:
    """Two distributions in a few bars, for drawing.

    Numbers get a bar a bin where the profile has few bins, else bars of equal width between the outermost edges, among
    which the mass of a bin is spread evenly; the first and the last bar also hold what lies beyond. Categories get a bar
    each, the most frequent first, the rare ones together.

    Args:
        reference: Profile of a column.
        analysis: Profile of the same column with the same bins.
        bars: Most bars to draw, not counting one for unseen values.

    Returns:
        Label and shares of each bar; shares are of the rows with a value and all 0 where there are none.
    """
    if isinstance(reference, NumericProfile) and isinstance(analysis, NumericProfile):
        if len(reference.counts) > bars:
            return _even_bars(reference, analysis, bars)
        ends = reference.edges if reference.maximum is None else (*reference.edges, reference.maximum)
        labels = ["below", *([f"{end:.4g}" for end in ends] or ["any"]), "above"]
        sides = [[one.below, *one.counts, one.above] for one in (reference, analysis)]
        return _shares(labels, sides, optional=(0, len(labels) - 1))
    if isinstance(reference, CategoricalProfile) and isinstance(analysis, CategoricalProfile):
        groups = _rare_together(reference.counts, bars)
        names = dict(zip(groups, reference.values, strict=True))
        labels = [names[group] if groups.count(group) == 1 else "other" for group in sorted(names)]
        sides = [[*_grouped(one.counts, groups), one.unseen] for one in (reference, analysis)]
        return _shares([*labels, UNSEEN_LABEL], sides, optional=(len(labels),))
    raise TypeError("one profile has numbers, the other categories")


def _even_bars(reference: NumericProfile, analysis: NumericProfile, bars: int) -> Outline:
    """Bars of equal width; the cumulative counts are known at the edges and taken as straight between them."""
    grid = np.linspace(reference.edges[0], reference.edges[-1], bars + 1)
    sides = []
    for one in (reference, analysis):
        heights = np.interp(grid, reference.edges, one.below + np.cumsum(one.counts)[:-1])
        heights[0], heights[-1] = 0, one.present
        sides.append(np.diff(heights).tolist())
    return _shares([f"{low:.4g} to {high:.4g}" for low, high in pairwise(grid)], sides)


def _shares(labels: Sequence[str], sides: Sequence[Sequence[float]], optional: Sequence[int] = ()) -> Outline:
    """Shares of two rows of counts, without the optional bars that are empty in both."""
    counts = np.array(sides, dtype=np.float64)
    keep = [at for at in range(len(labels)) if at not in optional or counts[:, at].any()]
    shares = counts[:, keep] / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return Outline(tuple(labels[at] for at in keep), tuple(shares[0].tolist()), tuple(shares[1].tolist()))


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
    """Rows of each category; categories of another type count as their text."""
    counts: dict[str, int] = {}
    for value, count in values.value_counts(dropna=True).items():
        counts[str(value)] = counts.get(str(value), 0) + int(count)
    # A categorical dtype also lists the categories that no row has.
    return {value: count for value, count in counts.items() if count > 0}


def _check_columns(frame: pd.DataFrame, columns: Sequence[str]) -> None:
    lacking = [name for name in columns if name not in frame.columns]
    if lacking:
        raise ValueError(f"the table lacks columns that its profile needs: {', '.join(lacking)}")


def _check_same_columns(one: Profile, other: Profile, scores: bool = True) -> None:
    differing = sorted({*one.numeric} ^ {*other.numeric} | ({*one.categorical} ^ {*other.categorical}))
    if differing:
        raise ValueError(f"the profiles have different columns; only one of them has: {', '.join(differing)}")
    if scores and (one.score is None) != (other.score is None):
        raise ValueError("only one of the profiles has scores; count both with scores or both without")


def _compare(
    column: str,
    kind: Literal["numeric", "categorical", "score"],
    reference: NumericProfile | CategoricalProfile,
    analysis: NumericProfile | CategoricalProfile,
) -> ColumnDrift:
    ks = None
    if isinstance(reference, NumericProfile) and isinstance(analysis, NumericProfile):
        _ = reference + analysis  # refuses other bins
        groups = _equal_mass(reference.counts, NUMERIC_BINS)
        sides = [[*_grouped(one.counts, groups), one.below, one.above, one.missing] for one in (reference, analysis)]
        ks = _largest_difference(reference, analysis)
        unseen = analysis.below + analysis.above
    elif isinstance(reference, CategoricalProfile) and isinstance(analysis, CategoricalProfile):
        _ = reference + analysis
        groups = _rare_together(reference.counts, CATEGORICAL_BINS)
        sides = [[*_grouped(one.counts, groups), one.unseen, one.missing] for one in (reference, analysis)]
        unseen = analysis.unseen
    else:
        raise TypeError(f"{column}: one profile has numbers, the other categories")
    psi, chance, distance = _distances(np.array(sides, dtype=np.float64))
    return ColumnDrift(
        column=column,
        kind=kind,
        psi=psi,
        psi_chance=chance,
        jensen_shannon=distance,
        ks=ks,
        missing_reference=reference.missing / reference.rows if reference.rows else None,
        missing_analysis=analysis.missing / analysis.rows if analysis.rows else None,
        unseen_share=unseen / analysis.rows if analysis.rows else None,
    )


def _distances(counts: NDArray[np.float64]) -> tuple[float | None, float | None, float | None]:
    """Stability index, the one that chance exceeds, and Jensen-Shannon distance of two rows of counts."""
    rows = counts.sum(axis=1)
    if rows.min() == 0:
        return None, None, None
    shares = counts[:, counts.any(axis=0)] / rows[:, None]
    floored = np.maximum(shares, max(SHARE_FLOOR, 0.5 / rows.min()))
    psi = float(np.sum((floored[1] - floored[0]) * np.log(floored[1] / floored[0])))
    freedom = shares.shape[1] - 1
    spread = 2 / (9 * freedom) if freedom else 0.0
    chance = freedom * (1 - spread + CHANCE_QUANTILE * math.sqrt(spread)) ** 3 * float(np.sum(1 / rows))
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = np.where(shares > 0, shares * np.log2(shares / shares.mean(axis=0)), 0.0)
    # Rounding can leave equal distributions a hair below zero.
    return psi, chance, math.sqrt(max(0.0, float(parts.sum()) / 2))


def _largest_difference(reference: NumericProfile, analysis: NumericProfile) -> float | None:
    if reference.present == 0 or analysis.present == 0:
        return None
    heights = [np.cumsum([one.below, *one.counts]) / one.present for one in (reference, analysis)]
    return float(np.max(np.abs(heights[1] - heights[0])))


def _equal_mass(counts: Sequence[int], bins: int) -> list[int]:
    """Group of each fine bin, by where its middle stands in the mass of the reference."""
    mass = np.asarray(counts, dtype=np.float64)
    if mass.sum() == 0:
        return [0] * len(mass)
    middle = (np.cumsum(mass) - mass / 2) / mass.sum()
    group = np.minimum(np.floor(middle * bins), bins - 1)
    ranks: list[int] = np.unique(group, return_inverse=True)[1].tolist()
    return ranks


def _rare_together(counts: Sequence[int], bins: int) -> list[int]:
    """Group of each category: its rank by frequency, and the last group for all that are rarer."""
    order = np.argsort(-np.asarray(counts, dtype=np.int64), kind="stable")
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    groups: list[int] = np.minimum(rank, bins - 1).tolist()
    return groups


def _grouped(counts: Sequence[int], groups: Sequence[int]) -> list[int]:
    sums = [0] * (max(groups, default=-1) + 1)
    for count, group in zip(counts, groups, strict=True):
        sums[group] += count
    return sums
