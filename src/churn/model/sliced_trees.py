"""Leaves of some dozens of rows in large trees, 64 rows in one machine word.

Whether a row passes a comparison is one bit. For 64 rows at once, the comparison that a tree makes next is chosen among those
of its level by the bits of the levels above, with three operations on words for each split, and for all trees together. The
bits of a path are then the place of the leaf in a table. On one thread that takes a fifth of the time of walking each row
through each tree.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Levels of the trees: the bits of a path fit into a byte.
MOST_LEVELS = 8
# Leaves of all trees, each of which has as many as a tree with all splits of its levels.
MOST_LEAVES = 1 << 20
WORD = 64

# The steps in which a block of 8 x 8 bits in a word is transposed: Warren, Hacker's Delight, 7-3.
_STEPS = tuple(
    (np.uint64(shift), np.uint64(mask))
    for shift, mask in ((7, 0x00AA00AA00AA00AA), (14, 0x0000CCCC0000CCCC), (28, 0x00000000F0F0F0F0))
)


class Nodes(NamedTuple):
    """The nodes of all trees, one after the other; the children of a leaf are -1.

    Attributes:
        roots: Node of the root of each tree, and the number of nodes.
        left: Left child of each node.
        right: Right child of each node.
        comparison: Comparison of each node; 0, which no row passes, for a leaf.
        value: Value of each leaf.
    """

    roots: NDArray[np.intp]
    left: NDArray[np.intp]
    right: NDArray[np.intp]
    comparison: NDArray[np.intp]
    value: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class SlicedTrees:
    """Trees whose levels are complete: where a tree has none, a comparison that no row passes leads to the same leaf.

    Attributes:
        levels: Comparisons of each level, shape (2 ** level, trees); bit k of the first index is set if level k is passed.
        first: Place of the first leaf of each tree, shape (trees, 1).
        table: Leaves of all trees.
    """

    levels: tuple[NDArray[np.intp], ...]
    first: NDArray[np.intp]
    table: NDArray[np.float32]

    rows = 2 * WORD

    @classmethod
    def of(cls, nodes: Nodes) -> "SlicedTrees | None":
        """Complete the levels of trees; None if they have too many."""
        node = nodes.roots[None, :-1]
        levels = list[NDArray[np.intp]]()
        while (inner := nodes.left[node] >= 0).any():
            if len(levels) == MOST_LEVELS or 2 * node.size > MOST_LEAVES:
                return None
            levels.append(np.where(inner, nodes.comparison[node], 0))
            children = (np.where(inner, side[node], node) for side in (nodes.right, nodes.left))
            node = np.concatenate(list(children))
        trees = node.shape[1]
        first = np.arange(trees, dtype=np.intp)[:, None] << len(levels)
        return cls(tuple(levels), first, np.ascontiguousarray(nodes.value[node].T).ravel())

    def leaves(self, passed: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Return the leaves for passed comparisons of shape (c, n): shape (1 + trees, n), of which the first is free."""
        count = passed.shape[1]
        found = np.empty((len(self.first) + 1, count), np.float32)
        np.take(self.table, self._paths(passed)[:, :count] + self.first, out=found[1:], mode="clip")
        return found

    def _paths(self, passed: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Return the bits of the paths, shape (trees, n or more)."""
        comparisons, rows = passed.shape
        size = -(-rows // WORD) * 8  # bytes of whole words
        packed = np.zeros((comparisons, size), np.uint8)
        packed[:, : -(-rows // 8)] = np.packbits(passed, axis=1, bitorder="little")
        words = packed.view(np.uint64)
        trees, taken = len(self.first), list[NDArray[np.uint64]]()
        planes = np.zeros((trees, size, MOST_LEVELS), np.uint8)
        for level, places in enumerate(self.levels):
            chosen = words.take(places, axis=0)
            for above in reversed(range(level)):
                half = 1 << above
                low, high = chosen[:half], chosen[half:]
                chosen = high ^ low
                chosen &= taken[above]
                chosen ^= low
            taken.append(chosen[0])
            planes[:, :, level] = chosen[0].view(np.uint8)
        blocks = planes.reshape(-1).view(np.uint64)
        for shift, mask in _STEPS:
            differ = (blocks ^ (blocks >> shift)) & mask
            blocks = blocks ^ differ ^ (differ << shift)
        return blocks.view(np.uint8).reshape(trees, size * 8)
