"""Exact TreeSHAP contributions of boosted trees, by table look-up.

The contribution of a tree to a row depends only on which of the tree's splits the row passes on the left. A tree is
cut into groups of at most 8 splits: a subtree and the splits above it. For each of the up to 256 patterns of a group the
contributions are computed once (`Attribution.of`). A row then takes a few look-ups and additions per tree; XGBoost's own
``pred_contribs`` walks every path of every tree for each row, which is slow.

The values are those of path-dependent TreeSHAP (Lundberg et al. 2020, doi:10.1038/s42256-019-0138-9), as of
``pred_contribs``, in double precision.
"""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from churn.model.trees import Booster, stored_trees
from churn.tables.parallel import cores

GROUP_SPLITS = 8
CHUNK_ROWS = 4096
# Bytes of the tables of a booster. Those of large trees take a gigabyte and half a minute to compute; then XGBoost is sooner.
LARGEST_TABLES = 100_000_000
# Number of leaves times patterns whose contributions are computed at once.
FILL_ROWS = 1 << 17
BITS = (1 << np.arange(GROUP_SPLITS, dtype=np.uint8))[:, None]


@dataclass(frozen=True, eq=False)
class Attribution:
    """Look-up tables of a booster.

    Attributes:
        features: Feature of each split of each group, shape (groups, 8); unused splits are feature 0.
        limits: A row passes on the left where its value is below this, shape (groups, 8); -inf for unused splits.
        tables: Contributions for each pattern of passed splits, shape (groups, 256, columns), in log-odds.
        baseline: Log-odds of the average training row.
    """

    features: NDArray[np.intp]
    limits: NDArray[np.float32]
    tables: NDArray[np.float64]
    baseline: float

    @classmethod
    def of(cls, booster: Booster, shares: NDArray[np.float64]) -> "Attribution | None":
        """Compute the tables of a booster.

        Args:
            booster: Booster of trees with numeric splits and the objective ``binary:logistic``.
            shares: Share of each feature's contribution that each column gets, shape (features, columns).

        Returns:
            The tables; None if a path has more than 8 splits, or if they would be larger than `LARGEST_TABLES`.
        """
        stored, start = stored_trees(booster)
        groups: list[tuple[_Tree, _Plan]] = []
        width = 1
        baseline = float(np.log(start / (1 - start)))
        for raw in stored:
            tree = _Tree(raw)
            baseline += tree.mean()
            for root, above in tree.cut():
                if len(above) >= GROUP_SPLITS and tree.left[root] >= 0:
                    return None
                plan = _plan(tree.left, tree.right, tree.slots, root, above)
                groups.append((tree, plan))
                width = max(width, 1 << len(plan.inner))
                if len(groups) * width * shares.shape[1] * 8 > LARGEST_TABLES:
                    return None
        features = np.zeros((len(groups), GROUP_SPLITS), np.intp)
        limits = np.full((len(groups), GROUP_SPLITS), -np.inf, np.float32)
        tables = np.zeros((len(groups), width, shares.shape[1]))
        for at, (tree, plan) in enumerate(groups):
            features[at, : len(plan.inner)] = [tree.feature[node] for node in plan.inner]
            limits[at, : len(plan.inner)] = [tree.value[node] for node in plan.inner]
        _fill(tables, groups, shares)
        return cls(features, limits, tables, baseline)

    def contributions(self, features: NDArray[np.float32], threads: int = 0) -> NDArray[np.float64]:
        """Return the contributions of encoded rows: features of shape (n, k) without nan, result of shape (n, columns)."""
        result = np.zeros((len(features), self.tables.shape[2]))
        starts = range(0, len(features), CHUNK_ROWS)

        def fill(start: int) -> None:
            self._add(features[start : start + CHUNK_ROWS], result[start : start + CHUNK_ROWS])

        with ThreadPoolExecutor(threads or cores()) as pool:
            list(pool.map(fill, starts))
        return result

    def of_rows(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Compute `contributions` row by row on this thread, which is faster for a few rows."""
        used, limits, first, table = self._flat
        result = np.empty((len(features), table.shape[1]))
        for at, row in enumerate(features):
            pattern = np.packbits(row[used] < limits, axis=1, bitorder="little")[:, 0]
            taken = table.take(first + pattern, axis=0)
            # In the order of the groups; a sum of a single column would add in pairs.
            result[at] = np.add.reduce(taken, axis=0) if taken.shape[1] > 1 else np.add.accumulate(taken)[-1]
        return result

    @cached_property
    def _flat(self) -> tuple[NDArray[np.intp], NDArray[np.float32], NDArray[np.intp], NDArray[np.float64]]:
        """Features and limits without the splits that no group has, the first row of each table, and all tables as one."""
        groups, width, columns = self.tables.shape
        splits = max(1, width.bit_length() - 1)
        return (
            np.ascontiguousarray(self.features[:, :splits]),
            np.ascontiguousarray(self.limits[:, :splits]),
            np.arange(groups, dtype=np.intp) * width,
            self.tables.reshape(groups * width, columns),
        )

    def _add(self, rows: NDArray[np.float32], result: NDArray[np.float64]) -> None:
        values = np.ascontiguousarray(rows.T)
        taken = np.empty_like(result)
        for features, limits, table in zip(self.features, self.limits, self.tables, strict=True):
            passed = (values[features] < limits[:, None]).view(np.uint8)
            # Eight times as fast as packbits, which is slow across rows.
            pattern = np.bitwise_or.reduce(passed * BITS, axis=0)
            np.take(table, pattern, axis=0, out=taken, mode="clip")
            result += taken


def by_column(parts: NDArray[np.float64], shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the contributions of columns from those of features, the same for a row whatever the others are.

    A matrix product would round a row differently depending on the number of rows.

    Args:
        parts: Contributions of features, shape (n, k).
        shares: Share of each feature's contribution that each column gets, shape (k, columns).

    Returns:
        Contributions of columns, shape (n, columns).
    """
    result = np.zeros((shares.shape[1], len(parts)))
    for feature, column in np.argwhere(shares):
        result[column] += parts[:, feature] * shares[feature, column]
    return np.ascontiguousarray(result.T)


class _Tree:
    """One tree of a stored booster."""

    def __init__(self, raw: dict[str, Any]) -> None:
        self.left: tuple[int, ...] = tuple(raw["left_children"])
        self.right: tuple[int, ...] = tuple(raw["right_children"])
        self.feature: list[int] = raw["split_indices"]
        self.value: list[float] = raw["split_conditions"]
        self.cover: list[float] = raw["sum_hessian"]
        # Features are named by the first node that splits on them, so that trees of the same shape share one plan.
        first: dict[int, int] = {}
        self.slots = tuple(
            first.setdefault(feature, node) if left >= 0 else -1
            for node, (feature, left) in enumerate(zip(self.feature, self.left, strict=True))
        )
        self.splits = [0] * len(self.left)
        for node in reversed(range(len(self.left))):  # children come after their parent
            if self.left[node] >= 0:
                self.splits[node] = 1 + self.splits[self.left[node]] + self.splits[self.right[node]]

    def mean(self) -> float:
        """Mean of the leaves, weighted by cover."""
        leaves = [node for node, child in enumerate(self.left) if child < 0]
        return sum(self.value[node] * self.cover[node] for node in leaves) / sum(self.cover[node] for node in leaves)

    def cut(self) -> list[tuple[int, tuple[tuple[int, bool], ...]]]:
        """Return the roots of the groups, each with the splits above it and whether they are passed on the left."""
        found: list[tuple[int, tuple[tuple[int, bool], ...]]] = []
        open_: list[tuple[int, tuple[tuple[int, bool], ...]]] = [(0, ())]
        while open_:
            root, above = open_.pop()
            if self.splits[root] == 0 or len(above) + self.splits[root] <= GROUP_SPLITS or len(above) >= GROUP_SPLITS:
                found.append((root, above))
            else:
                open_ += [(self.left[root], (*above, (root, True))), (self.right[root], (*above, (root, False)))]
        return found


class _Leaf(NamedTuple):
    """A leaf of a group and the path to it.

    Attributes:
        node: The leaf.
        slots: Nodes that represent the d features on its path.
        steps: For each of them the (parent, child) steps of the path that split on the feature.
        pattern: For each pattern of the group's splits, that of the d features: bit k is set if all steps of k are taken.
    """

    node: int
    slots: tuple[int, ...]
    steps: tuple[tuple[tuple[int, int], ...], ...]
    pattern: NDArray[np.intp]


class _Plan(NamedTuple):
    """Structure of a group: its splits, in the order of the pattern's bits, and its leaves; no leaf if the root is one."""

    inner: tuple[int, ...]
    leaves: tuple[_Leaf, ...]


@lru_cache(maxsize=4096)
def _plan(
    left: tuple[int, ...],
    right: tuple[int, ...],
    slots: tuple[int, ...],
    root: int,
    above: tuple[tuple[int, bool], ...],
) -> _Plan:
    """Return the plan of a group; cached, as thousands of small trees have few shapes."""
    paths, open_ = [], [(root, above)]
    inner = [node for node, _ in above]
    while open_:
        node, path = open_.pop()
        if left[node] < 0:
            paths.append((node, path))
        else:
            inner.append(node)
            open_ += [(left[node], (*path, (node, True))), (right[node], (*path, (node, False)))]
    bits = (np.arange(2 ** len(inner))[:, None] >> np.arange(len(inner))) & 1
    leaves = []
    for leaf, path in paths:
        passes: dict[int, NDArray[np.intp]] = {}
        steps: dict[int, list[tuple[int, int]]] = {}
        for node, is_left in path:
            met = bits[:, inner.index(node)] ^ (not is_left)
            passes[slots[node]] = passes.get(slots[node], 1) & met
            steps.setdefault(slots[node], []).append((node, left[node] if is_left else right[node]))
        if path:
            pattern = sum((met << at for at, met in enumerate(passes.values())), np.zeros(len(bits), np.intp))
            leaves.append(_Leaf(leaf, tuple(passes), tuple(map(tuple, steps.values())), pattern))
    return _Plan(tuple(inner), tuple(leaves))


def _fill(tables: NDArray[np.float64], groups: Sequence[tuple[_Tree, _Plan]], shares: NDArray[np.float64]) -> None:
    """Add up the contributions of all leaves; leaves with the same number of features on their path are batched."""
    alike: dict[tuple[int, int], list[tuple[int, _Tree, _Leaf]]] = {}
    for at, (tree, plan) in enumerate(groups):
        for leaf in plan.leaves:
            alike.setdefault((len(leaf.slots), len(leaf.pattern)), []).append((at, tree, leaf))
    for (_, patterns), leaves in alike.items():
        for start in range(0, len(leaves), size := max(1, FILL_ROWS // patterns)):
            where, trees, some = zip(*leaves[start : start + size], strict=True)
            covers = [
                [math.prod(tree.cover[child] / tree.cover[parent] for parent, child in steps) for steps in leaf.steps]
                for tree, leaf in zip(trees, some, strict=True)
            ]
            values = np.array([tree.value[leaf.node] for tree, leaf in zip(trees, some, strict=True)])
            used = [[tree.feature[slot] for slot in leaf.slots] for tree, leaf in zip(trees, some, strict=True)]
            parts = values[:, None, None] * (_shapley(np.array(covers)) @ shares[used])
            taken = np.take_along_axis(parts, np.array([leaf.pattern for leaf in some])[:, :, None], axis=1)
            # Leaves are in the order of their groups.
            groups_here, first = np.unique(where, return_index=True)
            tables[groups_here, :patterns] += np.add.reduceat(taken, first, axis=0)


def _shapley(cover: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shapley values of a product game: a known feature has the factor 1 or 0, an unknown one its cover.

    The weight s!(d - s - 1)!/d! of a coalition of s among d features is the integral of t^s (1 - t)^(d - s - 1) over
    0..1, so the sum over coalitions is the integral of a product of d - 1 linear terms, which Gauss-Legendre
    quadrature computes exactly.

    Args:
        cover: For each of n paths the share of the training rows that passes all splits of each feature, shape (n, d).

    Returns:
        Shapley values, shape (n, 2^d, d); entry i is for a row that passes feature k if bit k of i is set.
    """
    count = cover.shape[1]
    points, weights = quadrature(count)
    passes = ((np.arange(2**count)[:, None] >> np.arange(count)) & 1).astype(np.float64)
    values = np.zeros((len(cover), *passes.shape))
    for point, weight in zip(points, weights, strict=True):
        factors = point * passes + (1 - point) * cover[:, None, :]
        for feature in range(count):
            others = np.delete(factors, feature, axis=2)
            values[:, :, feature] += weight * others.prod(axis=2)
    return values * (passes - cover[:, None, :])


@lru_cache
def quadrature(count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return points and weights on 0..1 that integrate polynomials of degree d - 1 exactly, shape (ceil(d / 2),) each."""
    points, weights = np.polynomial.legendre.leggauss((count + 1) // 2)
    return (points + 1) / 2, weights / 2
