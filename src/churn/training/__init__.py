"""From labelled rows to a model, and the decision on the promotion."""

from churn.training.gates import decide
from churn.training.trainer import train_model

__all__ = [
    "decide",
    "train_model",
]
