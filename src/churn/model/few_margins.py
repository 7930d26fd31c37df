"""Margins of a few rows, bit for bit those of XGBoost: all trees at once instead of all rows at once.

XGBoost takes 140 microseconds for the first row of 1,500 small trees, of which a call takes a third. Here the
comparisons that the trees make are made once each, there are far fewer than splits, and NumPy follows all trees together:
small trees by the pattern of their comparisons, as in `churn.model.margins`, larger ones level by level, for more than a few
rows with 64 of them in a word. The leaves are added in the order and the precision of XGBoost, so that the sums are equal to the
last bit.
"""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from churn.model.margins import TREE_SPLITS, agrees, form_of, start_of
from churn.model.sliced_trees import Nodes, SlicedTrees
from churn.model.trees import Booster, stored_trees

# Rows whose leaves are looked up at once, few enough to stay in the processor's cache.
BLOCK_ROWS = 64
# With more rows than these, `SlicedTrees` are faster than following large trees row by row.
FOLLOWED_ROWS = 8
# With more rows than these XGBoost is as fast as following trees that are too large for `SlicedTrees`.
WALKED_ROWS = 32
# Rows for which a booster is tried before it is used.
TRIED_ROWS = 128


class Comparisons(NamedTuple):
    """The different comparisons of a booster: a row passes one if its feature is below the threshold, shape (c,) each."""

    features: NDArray[np.intp]
    thresholds: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class FewMargins:
    """Margins of a few rows by a booster with the objective ``binary:logistic``."""

    start: np.float32
    comparisons: Comparisons
    trees: "_Patterns | _Levels"
    sliced: SlicedTrees | None = None

    @classmethod
    def of(cls, booster: Booster) -> "FewMargins | None":
        """Prepare a booster; None if the margins of some test rows differ from those of XGBoost."""
        stored, base_score = stored_trees(booster)
        if not stored or any(any(tree["split_type"]) for tree in stored):
            return None
        comparisons, nodes = joined(stored)
        most = max(
            int(np.sum(nodes.left[one:two] >= 0)) for one, two in zip(nodes.roots, nodes.roots[1:], strict=False)
        )
        is_small = most <= TREE_SPLITS
        trees = _Patterns.of(stored, nodes) if is_small else _Levels.of(nodes)
        made = cls(start_of(base_score), comparisons, trees, None if is_small else SlicedTrees.of(nodes))
        features, thresholds = comparisons.features[1:], comparisons.thresholds[1:]
        cuts = {int(feature): np.sort(thresholds[features == feature]) for feature in np.unique(features)}
        # Both ways, of which rows go one or the other by their number.
        ways = (made.margin, replace(made, sliced=None).margin) if made.sliced else (made.margin,)
        return made if all(agrees(way, booster, cuts, TRIED_ROWS) for way in ways) else None

    @property
    def most_rows(self) -> int | None:
        """Number of rows up to which this is faster than XGBoost on one thread; None for any number."""
        return None if self.sliced is not None or isinstance(self.trees, _Patterns) else WALKED_ROWS

    def margin(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the margins of encoded rows: features of shape (n, k) without nan, result of shape (n,)."""
        result = np.empty(len(features), dtype=np.float32)
        trees = self.trees if self.sliced is None or len(features) <= FOLLOWED_ROWS else self.sliced
        for at in range(0, len(features), size := trees.rows):
            rows = features[at : at + size]
            values = np.ascontiguousarray(rows.T).take(self.comparisons.features, axis=0)
            leaves = trees.leaves(values < self.comparisons.thresholds[:, None])
            leaves[0] = self.start
            # One after the other, as XGBoost does; a sum of a single column would add in pairs.
            one = len(rows) == 1
            result[at : at + size] = np.add.accumulate(leaves[:, 0])[-1] if one else np.add.reduce(leaves, axis=0)
        return result


@dataclass(frozen=True, eq=False)
class _Patterns:
    """Trees of few splits as tables: the leaf of each pattern of passed comparisons.

    Attributes:
        splits: Comparison of each split of each tree, the first ones of all trees first, shape (splits, trees).
        first: Place of the first leaf of each tree, shape (trees, 1).
        table: Leaves of all patterns of all trees.
    """

    splits: tuple[NDArray[np.intp], ...]
    first: NDArray[np.intp]
    table: NDArray[np.float32]

    rows = BLOCK_ROWS

    @classmethod
    def of(cls, stored: list[dict[str, Any]], nodes: Nodes) -> "_Patterns":
        forms = [form_of(tuple(tree["left_children"]), tuple(tree["right_children"])) for tree in stored]
        most = max(len(form.inner) for form in forms)
        splits = np.zeros((most, len(forms)), np.intp)
        table = np.zeros((len(forms), 1 << most), np.float32)
        for at, (form, root) in enumerate(zip(forms, nodes.roots, strict=False)):
            splits[: len(form.inner), at] = nodes.comparison[root + np.array(form.inner, np.intp)]
            table[at, : len(form.leaf)] = nodes.value[root + form.leaf]
        first = np.arange(len(forms), dtype=np.intp)[:, None] << most
        return cls(tuple(map(np.ascontiguousarray, splits)), first, table.ravel())

    def leaves(self, passed: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Return the leaves for passed comparisons of shape (c, n): shape (1 + trees, n), of which the first is free."""
        of_comparison = passed.view(np.uint8)
        pattern = np.zeros((len(self.first), passed.shape[1]), np.uint8)
        for split in reversed(self.splits):
            np.add(pattern, pattern, out=pattern)
            np.bitwise_or(pattern, of_comparison.take(split, axis=0), out=pattern)
        found = np.empty((len(self.first) + 1, passed.shape[1]), np.float32)
        np.take(self.table, pattern + self.first, out=found[1:], mode="clip")
        return found


@dataclass(frozen=True, eq=False)
class _Levels:
    """Trees of any size, whose nodes are numbered level by level, those of the same parent one after the other.

    Attributes:
        depth: Number of levels below the roots.
        left: Left child of each node, which the right one follows; of a leaf the node before itself.
        comparison: Comparison of each node.
        value: Value of each leaf.
        count: Number of trees; the first nodes are their roots.
    """

    depth: int
    left: NDArray[np.intp]
    comparison: NDArray[np.intp]
    value: NDArray[np.float32]
    count: int

    rows = 1

    @classmethod
    def of(cls, nodes: Nodes) -> "_Levels":
        levels = [nodes.roots[:-1]]
        while True:
            inner = levels[-1][nodes.left[levels[-1]] >= 0]
            if not len(inner):
                break
            levels.append(np.column_stack([nodes.left[inner], nodes.right[inner]]).ravel())
        order = np.concatenate(levels)
        new = np.empty(len(nodes.left), np.intp)
        new[order] = np.arange(len(order))
        left = nodes.left[order]
        # No row passes the comparison of a leaf, which leads one to the right of its left child: to itself.
        left = np.where(left >= 0, new[left], np.arange(len(order)) - 1)
        return cls(len(levels) - 1, left, nodes.comparison[order], nodes.value[order], len(nodes.roots) - 1)

    def leaves(self, passed: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Return the leaves for the passed comparisons of one row, shape (c, 1): see `_Patterns.leaves`."""
        right = ~passed[:, 0]
        node = np.arange(self.count)
        for _ in range(self.depth):
            node = self.left[node] + right[self.comparison[node]]
        found = np.empty((self.count + 1, 1), np.float32)
        found[1:, 0] = self.value[node]
        return found


def joined(stored: list[dict[str, Any]]) -> tuple[Comparisons, Nodes]:
    """Return the different comparisons, the first of which no row passes, and the nodes of all trees."""
    sizes = [len(tree["left_children"]) for tree in stored]
    roots = np.concatenate([[0], np.cumsum(sizes)]).astype(np.intp)

    def of_all(name: str, kind: type) -> NDArray[Any]:
        return np.concatenate([np.asarray(tree[name], dtype=kind) for tree in stored])

    left, right = of_all("left_children", np.intp), of_all("right_children", np.intp)
    features, values = of_all("split_indices", np.intp), of_all("split_conditions", np.float32)
    inner, shift = left >= 0, np.repeat(roots[:-1], sizes)
    keys = features[inner].astype(np.uint64) << np.uint64(32) | values[inner].view(np.uint32)
    different, places = np.unique(keys, return_inverse=True)
    comparison = np.zeros(len(left), np.intp)
    comparison[inner] = places + 1
    comparisons = Comparisons(
        np.append(0, different >> np.uint64(32)).astype(np.intp),
        np.append(np.float32(-np.inf), (different & np.uint64(0xFFFFFFFF)).astype(np.uint32).view(np.float32)),
    )
    children = [np.where(inner, each + shift, -1) for each in (left, right)]
    return comparisons, Nodes(roots, children[0], children[1], comparison, values)
