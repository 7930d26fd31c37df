"""Exact TreeSHAP contributions of trees that are too large for the tables of `churn.model.contributions`.

For a point t of the quadrature, a feature that a row's path agrees with has the factor t + (1 - t) c, and one that it does not
agree with (1 - t) c, where c is the share of the training rows that pass all splits on the feature. The contribution of a
feature is the integral over t of the sum over the leaves: the value of the leaf, times the factors of the other features on its
path, times 1 - c or -c. The sums are the same for all leaves below a node, so that one pass down and one pass up the trees is
enough (as in Linear TreeSHAP, Yu et al. 2022, arXiv:2209.08192). Here the nodes of a level are computed together, those of all
trees, row by row: a sixth of the time that XGBoost takes, or less, as it walks every path.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from churn.model.contributions import by_column, quadrature
from churn.model.few_margins import Comparisons, joined
from churn.model.trees import Booster, stored_trees
from churn.tables.parallel import cores

# Points of the quadrature, enough for 8 features on a path. NumPy takes rows of 16 bytes fast.
POINTS = 4
MOST_FEATURES = 2 * POINTS
MOST_LEVELS = 32
# Nodes of a level times features: what preparing may keep in memory.
MOST_CELLS = 1 << 26
CHUNK_ROWS = 64


class _Level(NamedTuple):
    """The splits of one level of all trees; the nodes of the next level are their left children, then their right ones.

    Attributes:
        comparison: Comparison of each split.
        feature: Feature of each split.
        splits: Places of the splits among the nodes of the level; None if all of them are splits.
        leaves: Places of the leaves among the nodes of the level.
        value: Value of each leaf.
        above: For each split, the last edge above it that split on the same feature; 0 for none.
        first: Number of edges before those of this level.
        states: Place of the first state of each edge in the following. It is that of a row that is off the feature's part of the
            path above the edge already; the next one is that of a row that leaves it here, the last one that of a row on it.
        factors: By which an edge multiplies, shape (edges * 3, POINTS).
        added: What an edge adds for its feature, shape (edges * 3, POINTS).

    Below the last level, there are leaves only. There, the states are those of splits: of a row that is off the path above, that
    goes right, or left. Factors and additions are then sums over both leaves, with the values of the leaves.
    """

    comparison: NDArray[np.intp]
    feature: NDArray[np.intp]
    splits: NDArray[np.intp] | None
    leaves: NDArray[np.intp]
    value: NDArray[np.float32]
    above: NDArray[np.intp]
    first: int
    states: NDArray[np.intp]
    factors: NDArray[np.float32]
    added: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class PathAttribution:
    """A booster, level by level.

    Attributes:
        comparisons: The different comparisons of the booster.
        levels: Its levels with splits, from the roots.
        features: Feature of each split, level by level.
        shares: Share of each feature's contribution that each column gets, shape (features, columns).
        edges: Number of edges.
        baseline: Log-odds of the average training row.
    """

    comparisons: Comparisons
    levels: tuple[_Level, ...]
    features: NDArray[np.intp]
    shares: NDArray[np.float64]
    edges: int
    baseline: float

    @classmethod
    def of(cls, booster: Booster, shares: NDArray[np.float64]) -> "PathAttribution | None":
        """Prepare a booster, see `churn.model.contributions.Attribution.of`.

        Returns:
            None if a path has more than 8 features, if there are too many levels, or if no training row was in some node.
        """
        stored, start = stored_trees(booster)
        if not stored or any(any(tree["split_type"]) for tree in stored):
            return None
        comparisons, nodes = joined(stored)
        features, cover = (
            np.concatenate([np.asarray(tree[name], kind) for tree in stored])
            for name, kind in (("split_indices", np.intp), ("sum_hessian", np.float64))
        )
        points, weights = quadrature(MOST_FEATURES)
        node = nodes.roots[:-1]
        # Of each edge: the share of the training rows that pass all splits on its feature so far. The first stands for none.
        known: list[NDArray[np.float64]] = [np.ones(1)]
        # For each node of the level, the last edge on its path by feature; 0 for none.
        last = np.zeros((len(node), booster.num_features()), np.int32)
        levels, edges = list[_Level](), 1
        if not (cover[node] > 0).all():
            return None
        while (inner := nodes.left[node] >= 0).any():
            splits = np.flatnonzero(inner)
            parent, last = node[splits], last[splits]
            at, count = np.arange(len(parent)), len(parent)
            feature = features[parent]
            above = last[at, feature].astype(np.intp)
            node_below = np.concatenate([nodes.left[parent], nodes.right[parent]])
            passes = cover[node_below] / np.tile(cover[parent], 2)
            if not (passes > 0).all() or len(levels) > MOST_LEVELS or 2 * last.size > MOST_CELLS:
                return None
            before = np.concatenate(known)[np.tile(above, 2)]
            known.append(before * passes)
            factors, added = _factors(before, known[-1], points, weights)
            states = np.arange(0, 6 * count, 3)
            if not (nodes.left[node_below] >= 0).any():
                factors, added = _with_leaves(factors, added, nodes.value[node_below])
                states = states[:count]
            value = nodes.value[node[~inner]]
            places = None if inner.all() else splits
            levels.append(
                _Level(
                    nodes.comparison[parent],
                    feature,
                    places,
                    np.flatnonzero(~inner),
                    value,
                    above,
                    edges,
                    states,
                    factors,
                    added,
                )
            )
            last = np.concatenate([last, last])
            last[np.arange(2 * count), np.tile(feature, 2)] = edges + np.arange(2 * count)
            if len(last) and int((last > 0).sum(axis=1).max()) > MOST_FEATURES:
                return None
            edges, node = edges + 2 * count, node_below
        means = [_mean(tree) for tree in stored]
        baseline = float(np.log(start / (1 - start))) + float(np.sum(means))
        split_on = np.concatenate([np.empty(0, np.intp), *(each.feature for each in levels)])
        return cls(comparisons, tuple(levels), split_on, shares, edges, baseline)

    def contributions(self, features: NDArray[np.float32], threads: int = 0) -> NDArray[np.float64]:
        """Return the contributions of encoded rows: features of shape (n, k) without nan, result of shape (n, columns)."""
        parts = [features[start : start + CHUNK_ROWS] for start in range(0, len(features), CHUNK_ROWS)]
        with ThreadPoolExecutor(threads or cores()) as pool:
            found = list(pool.map(self.of_rows, parts))
        return np.concatenate([np.empty((0, self.shares.shape[1])), *found])

    def of_rows(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Compute `contributions` on this thread."""
        parts = np.empty(features.shape, np.float64)
        for at, row in enumerate(features):
            passed = row[self.comparisons.features] < self.comparisons.thresholds
            parts[at] = np.bincount(self.features, self._of_splits(passed), features.shape[1])
        return by_column(parts, self.shares)

    def _of_splits(self, passed: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Return what each split adds for its feature, for the passed comparisons of one row."""
        if not self.levels:
            return np.empty(0, np.float32)
        *upper, last = self.levels
        on = np.empty(self.edges, np.uint8)  # whether the row takes all steps on the feature so far
        on[0] = 1
        places = list[NDArray[np.intp]]()
        weights = [np.ones((len(self.levels[0].leaves) + len(self.levels[0].comparison), POINTS), np.float32)]
        for level in upper:
            count = len(level.comparison)
            below = on[level.first : level.first + 2 * count].reshape(2, count)
            above = on.take(level.above)
            np.bitwise_and(above, passed.take(level.comparison), out=below[0])
            np.bitwise_xor(above, below[0], out=below[1])
            places.append(level.states + (below + above).ravel())
            of_sides = level.factors.take(places[-1], axis=0).reshape(2, count, POINTS)
            of_sides *= _of_split(level, weights[-1])
            weights.append(of_sides.reshape(2 * count, POINTS))
        above = on.take(last.above)
        place = last.states + (above + (above & passed.take(last.comparison)))
        inner = _of_split(last, weights[-1])
        found = [last.added.take(place, axis=0) * inner]
        sums = _of_level(last, weights[-1], last.factors.take(place, axis=0) * inner)
        for level, weight, place in zip(upper[::-1], weights[-2::-1], places[::-1], strict=True):
            count = len(level.comparison)
            added = level.added.take(place, axis=0)
            added *= sums
            found.append(added[:count] + added[count:])
            sums = _of_level(level, weight, sums[:count] + sums[count:])
        parts = np.concatenate(found[::-1])
        return np.asarray((parts[:, 0] + parts[:, 1]) + (parts[:, 2] + parts[:, 3]), dtype=np.float32)


def _of_split(level: _Level, weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the weights of the splits of a level, from those of its nodes."""
    return weight if level.splits is None else weight.take(level.splits, axis=0)


def _of_level(level: _Level, weight: NDArray[np.float32], sums: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the sums over the leaves below the nodes of a level, from those of its splits."""
    if level.splits is None:
        return sums
    whole = np.empty_like(weight)
    whole[level.splits] = sums
    whole[level.leaves] = weight.take(level.leaves, axis=0) * level.value[:, None]
    return whole


def _with_leaves(
    factors: NDArray[np.float32], added: NDArray[np.float32], values: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return factors and additions of splits above leaves, from those of their edges, see `_Level`."""
    count = len(values) // 2
    of_leaves = factors.reshape(2, count, 3, POINTS) * values.reshape(2, count, 1, 1)
    of_feature = of_leaves * added.reshape(2, count, 3, POINTS)
    # Where a row goes left, it leaves the right edge, and the other way round.
    left, right = [0, 1, 2], [0, 2, 1]
    sums, additions = (each[0][:, left] + each[1][:, right] for each in (of_leaves, of_feature))
    return sums.reshape(-1, POINTS), additions.reshape(-1, POINTS)


def _factors(
    before: NDArray[np.float64],
    passes: NDArray[np.float64],
    points: NDArray[np.float64],
    weights: NDArray[np.float64],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return what edges multiply by, and what they add, in the three states of a row, see `_Level`."""
    factors = np.empty((len(passes), 3, POINTS), np.float32)
    added = np.empty_like(factors)
    for state, (is_on_above, is_on) in enumerate(((0, 0), (1, 0), (1, 1))):
        above = points * is_on_above + (1 - points) * before[:, None]
        here = points * is_on + (1 - points) * passes[:, None]
        factors[:, state] = here / above
        added[:, state] = weights * ((is_on - passes[:, None]) / here - (is_on_above - before[:, None]) / above)
    return factors.reshape(-1, POINTS), added.reshape(-1, POINTS)


def _mean(tree: dict[str, Sequence[Any]]) -> float:
    """Mean of the leaves of a tree, weighted by cover."""
    leaf = np.asarray(tree["left_children"]) < 0
    values, cover = (np.asarray(tree[name], np.float64)[leaf] for name in ("split_conditions", "sum_hessian"))
    return float(values @ cover / cover.sum())
