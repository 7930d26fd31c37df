"""Boosted trees: the interface that a model uses, and functions that read, scale and average stored boosters of XGBoost."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from churn.model.ubjson import decode, encode

if TYPE_CHECKING:
    from xgboost import Booster as Booster
else:
    # Kedro evaluates the annotations of nodes at start; importing xgboost there would slow every command.
    Booster = Any


class Trees(Protocol):
    """Interface of boosted trees, independent of the library that grew them. Rows do not influence each other."""

    @property
    def rounds(self) -> int:
        """Number of boosting rounds."""
        ...

    @property
    def work(self) -> int:
        """Operations that the exact contributions of a row take, about: the leaves times their squared depth."""
        ...

    @property
    def device(self) -> str:
        """Device on which they predict: ``cpu``, ``cuda`` or ``cuda:<n>``."""
        ...

    def use(self, *, device: str, threads: int) -> None:
        """Set the device and the number of threads (0 for all cores) for predictions."""
        ...

    def margin(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the log-odds of encoded rows: features of shape (n, k) without nan, result of shape (n,)."""
        ...

    def few_margins(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Compute `margin` for a few rows on this thread: the same bits, sooner."""
        ...

    def contributions(
        self, features: NDArray[np.float32], shares: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], float]:
        """Return what each column adds to the baseline, in log-odds; baseline and contributions add up to the margin.

        Args:
            features: Encoded rows, shape (n, k), without nan.
            shares: Share of each feature's contribution that belongs to each column, shape (k, columns).

        Returns:
            Contributions, shape (n, columns), and the baseline.
        """
        ...

    def row_contributions(self, features: NDArray[np.float32], shares: NDArray[np.float64]) -> NDArray[np.float64]:
        """Compute the contributions of `contributions` row by row on this thread: the same bits, sooner for a few rows."""
        ...

    def few_contributions(
        self, features: NDArray[np.float32], shares: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], float]:
        """Compute `contributions` for a few rows, without the tables that pay off for many."""
        ...

    def to_bytes(self) -> bytes:
        """Return the stored form of the trees, in a format that is safe to load."""
        ...


def average(boosters: Sequence[Booster]) -> Booster:
    """Merge boosters into one whose margin is the mean of theirs, up to rounding to float32.

    Args:
        boosters: Boosters with the same features, objective, base score and number of rounds, one tree per round.

    Raises:
        ValueError: If base scores or numbers of trees differ.
    """
    models = [_content(booster) for booster in boosters]
    count = len(models)
    forests = [model["learner"]["gradient_booster"]["model"]["trees"] for model in models]
    bases = {str(model["learner"]["learner_model_param"]["base_score"]) for model in models}
    if len(bases) > 1 or len({len(forest) for forest in forests}) > 1:
        raise ValueError("boosters must have the same base score and the same number of trees")
    trees = [tree for together in zip(*forests, strict=True) for tree in together]
    for tree in trees:
        _scale_leaves(tree, 1 / count)
    return _with_trees(models[0], trees, count)


def combine(boosters: Sequence[Booster], weights: Sequence[float]) -> Booster:
    """Merge boosters into one whose margin is the weighted mean of theirs, up to rounding to float32.

    Each tree is a round of its own: the boosters may have different numbers of trees.

    Args:
        boosters: Boosters with the same features, objective and base score.
        weights: Their weights, which add up to 1.

    Raises:
        ValueError: If base scores or numbers of features differ.
    """
    if len(boosters) == 1:
        return boosters[0]
    models = [_content(booster) for booster in boosters]
    same = ("base_score", "num_feature")
    if any(len({str(model["learner"]["learner_model_param"][name]) for model in models}) > 1 for name in same):
        raise ValueError("boosters must have the same base score and the same number of features")
    trees: list[dict[str, Any]] = []
    for model, weight in zip(models, weights, strict=True):
        for tree in model["learner"]["gradient_booster"]["model"]["trees"]:
            _scale_leaves(tree, weight)
            trees.append(tree)
    return _with_trees(models[0], trees, 1)


def _with_trees(content: dict[str, Any], trees: list[dict[str, Any]], of_round: int) -> Booster:
    """Return a stored booster with other trees, of which so many together are a round."""
    for position, tree in enumerate(trees):
        tree["id"] = position
    model = content["learner"]["gradient_booster"]["model"]
    model["trees"] = trees
    model["tree_info"] = [0] * len(trees)
    model["iteration_indptr"] = list(range(0, len(trees) + 1, of_round))
    model["gbtree_model_param"] |= {"num_trees": str(len(trees)), "num_parallel_tree": str(of_round)}
    content["learner"]["attributes"] = {}
    return _from_content(content)


class StoredTrees(NamedTuple):
    """A booster as XGBoost stores it.

    Attributes:
        trees: Its trees in their order, each a dictionary of lists with one entry per node.
        base_score: Base score of the booster; a probability for a logistic objective.
    """

    trees: list[dict[str, Any]]
    base_score: float


def stored_trees(booster: Booster) -> StoredTrees:
    """Return the trees and the base score of a booster."""
    learner = _content(booster)["learner"]
    # Depending on its version, XGBoost writes a number or a list of one number.
    base_score = float(np.ravel(json.loads(learner["learner_model_param"]["base_score"]))[0])
    trees = [
        {name: values.tolist() if isinstance(values, np.ndarray) else values for name, values in tree.items()}
        for tree in learner["gradient_booster"]["model"]["trees"]
    ]
    return StoredTrees(trees, base_score)


def leaf_depths(booster: Booster) -> list[NDArray[np.int64]]:
    """Return for each tree the depth of its leaves, 0 for the root."""
    found = []
    for tree in _content(booster)["learner"]["gradient_booster"]["model"]["trees"]:
        left, parents = tree["left_children"], tree["parents"].astype(np.int64)
        # The parent of the root is a number behind the last node, which stands for itself.
        above = np.append(np.where(parents < len(parents), parents, len(parents)), len(parents))
        node = np.flatnonzero(left == -1)
        depth = np.zeros(len(node), np.int64)
        while (inside := (node := above[node]) < len(parents)).any():
            depth += inside
        found.append(depth)
    return found


def scaled(booster: Booster, factor: float) -> Booster:
    """Return the same trees with all leaves multiplied by `factor`; the base score stays the same."""
    content = _content(booster)
    for tree in content["learner"]["gradient_booster"]["model"]["trees"]:
        _scale_leaves(tree, factor)
    return _from_content(content)


def _scale_leaves(tree: dict[str, Any], factor: float) -> None:
    # XGBoost stores the value of a leaf where a split has its threshold.
    conditions = tree["split_conditions"].astype(np.float32)
    conditions[tree["left_children"] == -1] *= np.float32(factor)
    tree["split_conditions"] = conditions
    tree["base_weights"] = tree["base_weights"].astype(np.float32) * np.float32(factor)


def _content(booster: Booster) -> dict[str, Any]:
    """Return a booster as XGBoost stores it, lists of numbers as arrays."""
    stored: dict[str, Any] = decode(bytes(booster.save_raw("ubj")))
    return stored


def _from_content(content: dict[str, Any]) -> Booster:
    import xgboost as xgb

    booster = xgb.Booster()
    booster.load_model(bytearray(encode(content)))
    return booster
