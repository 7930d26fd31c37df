"""Drift of the columns of a table, and of the scores, from the reference to the analysis."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from churn.model import Profile
from churn.model.profile import CategoricalProfile, NumericProfile, check_same_columns
from churn.monitoring.chance import FalseAlarms, missing_by_chance, psi_by_chance, unseen_by_chance

NUMERIC_BINS = 10
CATEGORICAL_BINS = 20
SHARE_FLOOR = 1e-3
UNSEEN_LABEL = "never seen before"


class ColumnDrift(NamedTuple):
    """Drift metrics of one column; see `compare_profiles`."""

    column: str
    kind: Literal["numeric", "categorical", "score"]
    psi: float | None
    psi_chance: float | None
    jensen_shannon: float | None
    ks: float | None
    missing_reference: float | None
    missing_analysis: float | None
    unseen_share: float | None
    moved_by_chance: bool
    missing_by_chance: bool
    unseen_by_chance: bool


class Outline(NamedTuple):
    """Shares of the rows with a value in a few bins, for drawing; each tuple has one entry per bar."""

    labels: tuple[str, ...]
    reference: tuple[float, ...]
    analysis: tuple[float, ...]


def compare_profiles(reference: Profile, analysis: Profile, rate: float) -> list[ColumnDrift]:
    """Compute the drift metrics of each column and of the score.

    - ``psi``: population stability index, the sum over bins of (a - r) ln(a / r) of the shares a and r (Siddiqi, Credit
      Risk Scorecards, 2006; symmetric Kullback-Leibler divergence). The bins are at most 10 of about equal mass in the
      reference, or its 19 most frequent categories and the rest; missing values, values below and above the range of the
      reference and unseen categories are bins of their own if either side has them. Shares are raised to at least 0.001,
      or half a row of the smaller table if that is more, so that empty bins stay finite. The usual limits are 0.1 and
      0.25.
    - ``psi_chance``: the index that two samples of these sizes from one distribution exceed with a probability that depends
      on the number of columns, see `churn.monitoring.chance`; values outside the reference, which every sample has, are then
      counted in the bins at the ends, or in that of the rarest category.
    - ``jensen_shannon``: square root of the Jensen-Shannon divergence to base 2 on the same bins, 0 to 1 (Endres and
      Schindelin, 2003, doi:10.1109/TIT.2003.813506). No floor is needed.
    - ``ks``: Kolmogorov-Smirnov statistic, the largest difference of the two cumulative distributions at the up to 100
      fine edges, of the rows with a value; at most the mass of one fine bin below the exact one. None for categories.
    - ``missing_reference``, ``missing_analysis``: shares of the rows without a value.
    - ``unseen_share``: share of the analysis rows with a value that the reference does not have: an unseen category, or
      a number outside its range.
    - ``moved_by_chance``, ``missing_by_chance``, ``unseen_by_chance``: whether the difference of the distributions, a rise of
      the missing values, or the rows with an unseen category may be due to chance.

    Args:
        reference: Profile that the bins were learned on.
        analysis: Profile counted with ``count_profile`` in these bins.
        rate: Probability with which chance moves any figure of a table that has not changed, all together.

    Returns:
        One entry per column, in the order of the reference, and last the score (named ``score``) if both have it.
        Metrics are None if there are no rows to compute them from.

    Raises:
        ValueError: The profiles have different columns or bins.
    """
    check_same_columns(reference, analysis, scores=False)
    columns = len(reference.numeric) + len(reference.categorical)
    chance = FalseAlarms.of(rate, columns, len(reference.categorical))
    drifts = [
        _compare(name, "numeric", mine, analysis.numeric[name], chance) for name, mine in reference.numeric.items()
    ]
    drifts += [
        _compare(name, "categorical", mine, analysis.categorical[name], chance)
        for name, mine in reference.categorical.items()
    ]
    if reference.score is not None and analysis.score is not None:
        drifts.append(_compare("score", "score", reference.score, analysis.score, chance))
    return drifts


def outline(
    reference: NumericProfile | CategoricalProfile, analysis: NumericProfile | CategoricalProfile, bars: int = 20
) -> Outline:
    """Summarise two distributions in a few bars, for drawing.

    A numeric column gets one bar per bin if it has few bins, else bars of equal width between the outermost edges, over
    which the mass of a bin is spread evenly; the first and the last bar include values beyond. A categorical column gets
    one bar per category, the most frequent first, and one for all rare ones.

    Args:
        reference: Profile of a column.
        analysis: Profile of the same column with the same bins.
        bars: Largest number of bars, without the one for unseen values.

    Returns:
        Label and shares of each bar; shares are of the rows with a value, and all 0 if there are none.
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
    raise TypeError("one profile is numeric, the other categorical")


def _even_bars(reference: NumericProfile, analysis: NumericProfile, bars: int) -> Outline:
    """Return bars of equal width; cumulative counts are known at the edges and interpolated linearly between them."""
    grid = np.linspace(reference.edges[0], reference.edges[-1], bars + 1)
    sides = []
    for one in (reference, analysis):
        heights = np.interp(grid, reference.edges, one.below + np.cumsum(one.counts)[:-1])
        heights[0], heights[-1] = 0, one.present
        sides.append(np.diff(heights).tolist())
    return _shares([f"{low:.4g} to {high:.4g}" for low, high in pairwise(grid)], sides)


def _shares(labels: Sequence[str], sides: Sequence[Sequence[float]], optional: Sequence[int] = ()) -> Outline:
    """Return the shares of two rows of counts, without the optional bars that are empty in both."""
    counts = np.array(sides, dtype=np.float64)
    keep = [at for at in range(len(labels)) if at not in optional or counts[:, at].any()]
    shares = counts[:, keep] / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return Outline(tuple(labels[at] for at in keep), tuple(shares[0].tolist()), tuple(shares[1].tolist()))


def _compare(
    column: str,
    kind: Literal["numeric", "categorical", "score"],
    reference: NumericProfile | CategoricalProfile,
    analysis: NumericProfile | CategoricalProfile,
    chance: FalseAlarms,
) -> ColumnDrift:
    ks = None
    # The bins of the fine counts: `places` has bins of their own for what the reference does not have, `inside` has none.
    if isinstance(reference, NumericProfile) and isinstance(analysis, NumericProfile):
        _ = reference + analysis  # raises an error if the bins differ
        groups = _equal_mass(reference.counts, NUMERIC_BINS)
        places = [max(groups) + 1, *groups, max(groups) + 2, max(groups) + 3]
        counts = [(one.below, *one.counts, one.above, one.missing) for one in (reference, analysis)]
        # The bins at the ends, to which a sample of the same distribution adds values beyond them.
        inside = [0, *groups, max(groups), max(groups) + 1]
        ks = _largest_difference(reference, analysis)
        unseen, once = analysis.below + analysis.above, 1
    elif isinstance(reference, CategoricalProfile) and isinstance(analysis, CategoricalProfile):
        _ = reference + analysis
        groups = _rare_together(reference.counts, CATEGORICAL_BINS)
        rarest = max(groups, default=0)
        places = [*groups, rarest + 1, rarest + 2]
        counts = [(*one.counts, one.unseen, one.missing) for one in (reference, analysis)]
        inside = [*groups, rarest, rarest + 1]
        unseen, once = analysis.unseen, sum(count == 1 for count in reference.counts)
    else:
        raise TypeError(f"{column}: one profile is numeric, the other categorical")
    level = (chance.scores if kind == "score" else chance.distribution) / 2
    psi = psi_chance = distance = None
    moved_may_be, missing_may_be, unseen_may_be = True, True, True
    if reference.rows and analysis.rows:
        shares, within = (_shares_of([_grouped(row, bins) for row in counts]) for bins in (places, inside))
        psi, distance = _stability_index(shares, reference.rows, analysis.rows), _jensen_shannon(shares)
        psi_chance = psi_by_chance(within.shape[1], reference.rows, analysis.rows, level)
        outside = unseen_by_chance(once, reference.rows, unseen, analysis.rows)
        moved_may_be = _stability_index(within, reference.rows, analysis.rows) <= psi_chance and outside > level
        missing = missing_by_chance((reference.missing, reference.rows), (analysis.missing, analysis.rows))
        missing_may_be, unseen_may_be = missing > chance.missing, outside > chance.unseen
    return ColumnDrift(
        column=column,
        kind=kind,
        psi=psi,
        psi_chance=psi_chance,
        jensen_shannon=distance,
        ks=ks,
        missing_reference=reference.missing / reference.rows if reference.rows else None,
        missing_analysis=analysis.missing / analysis.rows if analysis.rows else None,
        unseen_share=unseen / analysis.rows if analysis.rows else None,
        moved_by_chance=moved_may_be,
        missing_by_chance=missing_may_be,
        unseen_by_chance=unseen_may_be,
    )


def _shares_of(counts: Sequence[Sequence[int]]) -> NDArray[np.float64]:
    """Return the shares of two rows of counts, without the bins that are empty in both."""
    rows = np.array(counts, dtype=np.float64)
    return np.asarray(rows[:, rows.any(axis=0)] / rows.sum(axis=1, keepdims=True), dtype=np.float64)


def _stability_index(shares: NDArray[np.float64], reference: int, analysis: int) -> float:
    floored = np.maximum(shares, max(SHARE_FLOOR, 0.5 / min(reference, analysis)))
    return float(np.sum((floored[1] - floored[0]) * np.log(floored[1] / floored[0])))


def _jensen_shannon(shares: NDArray[np.float64]) -> float:
    from scipy.special import rel_entr

    # Rounding can leave equal distributions a hair below zero.
    return math.sqrt(max(0.0, float(rel_entr(shares, shares.mean(axis=0)).sum()) / 2 / math.log(2)))


def _largest_difference(reference: NumericProfile, analysis: NumericProfile) -> float | None:
    if reference.present == 0 or analysis.present == 0:
        return None
    heights = [np.cumsum([one.below, *one.counts]) / one.present for one in (reference, analysis)]
    return float(np.max(np.abs(heights[1] - heights[0])))


def _equal_mass(counts: Sequence[int], bins: int) -> list[int]:
    """Return the group of each fine bin, by the position of its middle in the mass of the reference."""
    mass = np.asarray(counts, dtype=np.float64)
    if mass.sum() == 0:
        return [0] * len(mass)
    middle = (np.cumsum(mass) - mass / 2) / mass.sum()
    group = np.minimum(np.floor(middle * bins), bins - 1)
    ranks: list[int] = np.unique(group, return_inverse=True)[1].tolist()
    return ranks


def _rare_together(counts: Sequence[int], bins: int) -> list[int]:
    """Return the group of each category: its rank by frequency, and the last group for all rarer ones."""
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
