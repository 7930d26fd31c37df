"""Split accounts into training and test rows."""

import numpy as np
from numpy.typing import NDArray

from churn.config import FeatureEngineering
from churn.errors import AccountsError

# With fewer rows of a class, training, validation and test rows cannot all have both classes.
MIN_CLASS_ROWS = 10


def training_rows(
    labels: NDArray[np.int8], settings: FeatureEngineering, *, label: str, subject: str
) -> NDArray[np.bool_]:
    """Choose the training rows at random, stratified by label and seeded; the others are test rows.

    Args:
        labels: Label of each account, shape (n,), 0 or 1.
        settings: Share of the test rows, and the seed.
        label: Name of the label, for messages.
        subject: Name of the table in messages.

    Returns:
        Mask of the training rows, shape (n,).

    Raises:
        AccountsError: If a class has fewer than `MIN_CLASS_ROWS` accounts.
    """
    from sklearn.model_selection import train_test_split

    fewest = int(np.bincount(labels, minlength=2).min())
    if fewest < MIN_CLASS_ROWS:
        raise AccountsError(subject, [f"{label}: a class has only {fewest} rows, {MIN_CLASS_ROWS} are needed"])
    chosen, _ = train_test_split(
        np.arange(len(labels)), test_size=settings.test_share, random_state=settings.random_state, stratify=labels
    )
    is_train = np.zeros(len(labels), dtype=bool)
    is_train[chosen] = True
    return is_train
