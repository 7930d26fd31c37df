"""Which accounts are trained on and which are held out to test."""

import numpy as np
from numpy.typing import NDArray

from churn.config import FeatureEngineering
from churn.errors import AccountsError

# Below this, training, validation and test rows cannot each have accounts of both classes.
MIN_CLASS_ROWS = 10


def training_rows(
    labels: NDArray[np.int8], settings: FeatureEngineering, *, label: str, subject: str
) -> NDArray[np.bool_]:
    """Whether each account is trained on; the others test. Stratified by label and seeded.

    Args:
        labels: Label of each account, shape (n,), 0 or 1.
        settings: Share of the test accounts, and the seed.
        label: Name of the label, for messages.
        subject: What the table is called in messages.

    Returns:
        Shape (n,).

    Raises:
        AccountsError: If a class has too few accounts.
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
