"""Split accounts into training and test rows."""

import numpy as np
from numpy.typing import NDArray

from churn.config import FeatureEngineering
from churn.tables.split import Split

# With fewer rows of a class, training, validation and test rows cannot all have both classes.
MIN_CLASS_ROWS = 10
# The fewest training and test rows of a class. Training rows are divided into folds to grow on and to hold out.
MIN_TRAIN_ROWS, MIN_TEST_ROWS = 2, 1


def split_of(settings: FeatureEngineering) -> Split:
    """Return the configured split."""
    return Split(settings.random_state, settings.test_share)


def split_fault(labels: NDArray[np.int8], is_test: NDArray[np.bool_], label: str) -> str | None:
    """Return a sentence if a model cannot be trained and tested on the parts of a table; ``None`` if it can.

    Args:
        labels: Label of each account, shape (n,), 0 or 1.
        is_test: Whether each account is a test row, shape (n,).
        label: Name of the label, for messages.
    """
    rows = np.bincount(labels, minlength=2)
    if rows.min() < MIN_CLASS_ROWS:
        return f"{label}: a class has only {rows.min()} rows, {MIN_CLASS_ROWS} are needed"
    tested = np.bincount(labels[is_test], minlength=2)
    if tested.min() >= MIN_TEST_ROWS and (rows - tested).min() >= MIN_TRAIN_ROWS:
        return None
    return (
        f"{label}: the split leaves {rows[1] - tested[1]} churned and {rows[0] - tested[0]} other accounts to train on, "
        f"{tested[1]} and {tested[0]} to test on; a table this small needs another split: set "
        "feature_engineering.random_state or test_share"
    )
