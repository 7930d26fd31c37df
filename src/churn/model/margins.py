"""Margins of many rows by table look-up, for boosters of small trees: bit for bit those of XGBoost, several times as fast.

XGBoost walks each row through each tree and waits for memory at each split. Here each value is replaced by its position
among the thresholds of its feature, one byte. A tree is then a few comparisons of bytes for thousands of rows at once,
whose pattern is the index of the leaf in a table. The leaves are added in the order and the precision of XGBoost, so that
the sums are equal to the last bit.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from churn.model.trees import Booster, stored_trees

TREE_SPLITS = 8
FEATURE_CUTS = 255
CHUNK_ROWS = 1 << 16
# With fewer rows than these XGBoost is as fast; for a single row it is far faster.
LEAST_ROWS = 2_048


class _Tree(NamedTuple):
    """A tree: the feature and the position of the threshold of each split, and the leaf for each pattern of passed splits."""

    splits: tuple[tuple[int, int], ...]
    leaves: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Lookup:
    """A booster as tables.

    Attributes:
        start: Margin before the first tree.
        cuts: For each feature that is used its thresholds, rising.
        trees: The trees, in their order.
    """

    start: np.float32
    cuts: dict[int, NDArray[np.float32]]
    trees: tuple[_Tree, ...]

    @classmethod
    def of(cls, booster: Booster) -> "Lookup | None":
        """Compute the tables of a booster with the objective ``binary:logistic``.

        Returns:
            The tables; None if a tree has more than 8 splits, a feature more than 255 thresholds, or the margins of some
            test rows differ from those of XGBoost.
        """
        stored, base_score = stored_trees(booster)
        thresholds: dict[int, set[float]] = {}
        for tree in stored:
            inner = [node for node, child in enumerate(tree["left_children"]) if child >= 0]
            if len(inner) > TREE_SPLITS or any(tree["split_type"]):
                return None
            for node in inner:
                thresholds.setdefault(tree["split_indices"][node], set()).add(tree["split_conditions"][node])
        if any(len(values) > FEATURE_CUTS for values in thresholds.values()):
            return None
        places = {
            feature: {value: place for place, value in enumerate(sorted(values))}
            for feature, values in thresholds.items()
        }
        trees = []
        for tree in stored:
            features, values = tree["split_indices"], tree["split_conditions"]
            form = form_of(tuple(tree["left_children"]), tuple(tree["right_children"]))
            splits = tuple((features[node], places[features[node]][values[node]]) for node in form.inner)
            trees.append(_Tree(splits, np.array(values, dtype=np.float32)[form.leaf]))
        cuts = {feature: np.array(sorted(values), dtype=np.float32) for feature, values in thresholds.items()}
        made = cls(start_of(base_score), cuts, tuple(trees))
        return made if agrees(made.margin, booster, cuts) else None

    def margin(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the margins of encoded rows: features of shape (n, k) without nan, result of shape (n,)."""
        result = np.full(len(features), self.start, dtype=np.float32)
        for start in range(0, len(features), CHUNK_ROWS):
            self._add(features[start : start + CHUNK_ROWS], result[start : start + CHUNK_ROWS])
        return result

    def _add(self, rows: NDArray[np.float32], result: NDArray[np.float32]) -> None:
        # Number of thresholds of its feature that each value reaches; a row passes on the left below a threshold.
        reached = {
            feature: np.searchsorted(cuts, np.ascontiguousarray(rows[:, feature]), side="right").astype(np.uint8)
            if len(cuts) > 1
            else (rows[:, feature] >= cuts[0]).view(np.uint8)
            for feature, cuts in self.cuts.items()
        }
        pattern, passed = np.empty(len(rows), dtype=np.uint8), np.empty(len(rows), dtype=np.uint8)
        leaf = np.empty(len(rows), dtype=np.float32)
        for splits, leaves in self.trees:
            pattern.fill(0)
            # The last split comes first: each further one shifts the earlier ones up by a bit.
            for feature, place in reversed(splits):
                np.add(pattern, pattern, out=pattern)
                np.less_equal(reached[feature], place, out=passed.view(np.bool_))
                np.bitwise_or(pattern, passed, out=pattern)
            np.take(leaves, pattern, out=leaf, mode="clip")
            np.add(result, leaf, out=result)


def start_of(base_score: float) -> np.float32:
    """Return the margin before the first tree."""
    probability = np.float32(base_score)  # single precision, as in XGBoost
    return np.float32(-np.log(np.float32(1) / probability - np.float32(1)))


def agrees(
    margin: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    booster: Booster,
    thresholds: Mapping[int, NDArray[np.float32]],
    rows: int = 512,
) -> bool:
    """Return whether rows drawn around the thresholds of each feature have the same margins as with XGBoost."""
    generator = np.random.default_rng(0)
    drawn = np.zeros((rows, booster.num_features()), dtype=np.float32)
    for feature, cuts in thresholds.items():
        near = np.concatenate([cuts, np.nextafter(cuts, np.float32(-np.inf)), cuts[-1:] + np.float32(1)])
        drawn[:, feature] = generator.choice(near, rows)
    return bool(np.array_equal(margin(drawn), booster.inplace_predict(drawn, predict_type="margin")))


class Form(NamedTuple):
    """Splits of a tree in the order of their bits, and the leaf of each pattern, shape (2 ** splits,)."""

    inner: tuple[int, ...]
    leaf: NDArray[np.intp]


@lru_cache(maxsize=4096)
def form_of(left: tuple[int, ...], right: tuple[int, ...]) -> Form:
    """Return the form of a tree; cached, as thousands of small trees have few forms."""
    inner = tuple(node for node, child in enumerate(left) if child >= 0)
    leaf = np.zeros(1 << len(inner), dtype=np.intp)
    for pattern in range(len(leaf)):
        node = 0
        while left[node] >= 0:
            node = left[node] if pattern >> inner.index(node) & 1 else right[node]
        leaf[pattern] = node
    return Form(inner, leaf)
