"""Train a model on canonical labelled rows, and decide whether it becomes the champion."""

from churn.training.gates import decide
from churn.training.trainer import train_model

__all__ = [
    "decide",
    "train_model",
]
