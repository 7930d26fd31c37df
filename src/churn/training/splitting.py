"""Split accounts into training and test rows."""

import numpy as np
from numpy.typing import NDArray

from churn.config import FeatureEngineering
from churn.errors import AccountsError

# With fewer rows of a class, training, validation and test rows cannot all have both classes.
MIN_CLASS_ROWS = 10


def split_rows(
    labels: NDArray[np.int8], settings: FeatureEngineering, *, label: str, subject: str
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Split rows into training and test rows at random, stratified by label and seeded.

    Args:
        labels: Label of each account, shape (n,), 0 or 1; -1 for rows that are neither trained nor tested on.
        settings: Share of the test rows, and the seed.
        label: Name of the label, for messages.
        subject: Name of the table in messages.

    Returns:
        Masks of the training rows and of the test rows, both of shape (n,).

    Raises:
        AccountsError: If a class has fewer than `MIN_CLASS_ROWS` accounts.
    """
    from sklearn.model_selection import train_test_split

    rows = np.flatnonzero(labels >= 0)
    fewest = int(np.bincount(labels[rows], minlength=2).min())
    if fewest < MIN_CLASS_ROWS:
        raise AccountsError(subject, [f"{label}: a class has only {fewest} rows, {MIN_CLASS_ROWS} are needed"])
    train, test = train_test_split(
        rows, test_size=settings.test_share, random_state=settings.random_state, stratify=labels[rows]
    )
    is_train, is_test = np.zeros(len(labels), dtype=bool), np.zeros(len(labels), dtype=bool)
    is_train[train], is_test[test] = True, True
    return is_train, is_test
