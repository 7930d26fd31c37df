"""The names of the metrics of a training in MLflow."""

from collections.abc import Mapping

# Beginnings of the metrics that stand alone; all others are in a group, which MLflow's pages fold.
ALONE = ("test_", "oracle_", "trees")
PROFITS = ("test_profit_", "test_empc")
GROUPS = {"train_": "train", "cv_": "cross_validation"}


def tracked_names(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics of ``metrics.json`` by their names in MLflow.

    Those of the deployed model on the test rows keep their names. A slash puts the others into groups: ``train/roc_auc``,
    ``interval/test_roc_auc_low``, ``profit/test_profit_all``, ``cross_validation/roc_auc`` and
    ``baseline/logistic_regression_roc_auc``.
    """
    return {_name(name): value for name, value in metrics.items()}


def _name(name: str) -> str:
    for beginning, group in GROUPS.items():
        if name.startswith(beginning):
            return f"{group}/{name.removeprefix(beginning)}"
    if name.startswith(PROFITS):
        return f"profit/{name}"
    if not name.startswith(ALONE):
        return f"baseline/{name}"
    return f"interval/{name}" if name.endswith(("_low", "_high")) else name
