"""Imports of the service that would take a second at its start for nothing."""

import importlib
import sys


def import_xgboost() -> None:
    """Import XGBoost without scikit-learn, whose import takes far longer than its own; here nothing is trained.

    XGBoost does without a scikit-learn that is not installed, and for this one import there is none. Only for processes that
    answer requests. Where one of the two is imported already, nothing is done.
    """
    if "xgboost" in sys.modules or "sklearn" in sys.modules:
        return
    absent: dict[str, None] = {"sklearn": None}
    sys.modules.update(absent)  # type: ignore[arg-type]
    try:
        importlib.import_module("xgboost")
    finally:
        del sys.modules["sklearn"]
