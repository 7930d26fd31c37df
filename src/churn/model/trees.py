"""Boosted trees: what a model asks of them, and those of XGBoost as they are stored: read, scaled and averaged."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from xgboost import Booster as Booster
else:
    # Kedro reads the annotations of nodes when it starts, long before xgboost is needed.
    Booster = Any


class Trees(Protocol):
    """Boosted trees as a model uses them, whatever grew them. Rows do not influence each other."""

    @property
    def rounds(self) -> int:
        """Rounds of boosting."""
        ...

    @property
    def device(self) -> str:
        """Where they predict: ``cpu``, ``cuda`` or ``cuda:<n>``."""
        ...

    def use(self, *, device: str, threads: int) -> None:
        """Set where and with how many threads (0 for all cores) they predict."""
        ...

    def margin(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Log-odds of encoded rows: features of shape (n, k) without nan, result of shape (n,)."""
        ...

    def contributions(
        self, features: NDArray[np.float32], shares: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], float]:
        """What each column adds to the baseline, in log-odds; the sum is the margin.

        Args:
            features: Encoded rows, shape (n, k), without nan.
            shares: Share of each feature's contribution that each column gets, shape (k, columns).

        Returns:
            Contributions, shape (n, columns), and the baseline.
        """
        ...

    def few_contributions(
        self, features: NDArray[np.float32], shares: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], float]:
        """The same for a few rows, without anything that has to be prepared for many."""
        ...

    def to_bytes(self) -> bytes:
        """The trees as they are stored, in a format that is safe to load."""
        ...


def average(boosters: Sequence[Booster]) -> Booster:
    """One booster whose margin is the mean of the margins, but for rounding to float32.

    Args:
        boosters: Boosters with the same features, objective, base score and number of rounds, one tree each.
    """
    models = [json.loads(bytes(booster.save_raw("json"))) for booster in boosters]
    merged, count = models[0], len(models)
    forests = [model["learner"]["gradient_booster"]["model"]["trees"] for model in models]
    bases = {str(model["learner"]["learner_model_param"]["base_score"]) for model in models}
    if len(bases) > 1 or len({len(forest) for forest in forests}) > 1:
        raise ValueError("boosters must have the same base score and the same number of trees")
    trees = [tree for together in zip(*forests, strict=True) for tree in together]
    for position, tree in enumerate(trees):
        tree["id"] = position
        _scale_leaves(tree, 1 / count)
    model = merged["learner"]["gradient_booster"]["model"]
    model["trees"] = trees
    model["tree_info"] = [0] * len(trees)
    model["iteration_indptr"] = list(range(0, len(trees) + 1, count))
    model["gbtree_model_param"] |= {"num_trees": str(len(trees)), "num_parallel_tree": str(count)}
    merged["learner"]["attributes"] = {}
    return _from_json(merged)


class StoredTrees(NamedTuple):
    """A booster as XGBoost stores it.

    Attributes:
        trees: Its trees in their order, each a dictionary of lists with an entry a node.
        base_score: Where it starts from; a probability for a logistic objective.
    """

    trees: list[dict[str, Any]]
    base_score: float


def stored_trees(booster: Booster) -> StoredTrees:
    """What a booster is made of."""
    learner = json.loads(booster.save_raw("json"))["learner"]
    # Written as a number, or as a list of one.
    base_score = float(np.ravel(json.loads(learner["learner_model_param"]["base_score"]))[0])
    return StoredTrees(learner["gradient_booster"]["model"]["trees"], base_score)


def scaled(booster: Booster, factor: float) -> Booster:
    """The same trees with leaves that are `factor` times as large; the log-odds they start from stay."""
    content = json.loads(bytes(booster.save_raw("json")))
    for tree in content["learner"]["gradient_booster"]["model"]["trees"]:
        _scale_leaves(tree, factor)
    return _from_json(content)


def _scale_leaves(tree: dict[str, Any], factor: float) -> None:
    leaf = np.asarray(tree["left_children"]) == -1
    # A leaf keeps its value where a split keeps its threshold.
    conditions = np.asarray(tree["split_conditions"], dtype=np.float32)
    conditions[leaf] *= np.float32(factor)
    tree["split_conditions"] = conditions.tolist()
    tree["base_weights"] = (np.asarray(tree["base_weights"], dtype=np.float32) * np.float32(factor)).tolist()


def _from_json(content: dict[str, Any]) -> Booster:
    import xgboost as xgb

    booster = xgb.Booster()
    booster.load_model(bytearray(json.dumps(content).encode()))
    return booster
