"""`ChurnModel`, the artifact that is deployed, and its parts: encoder, trees, linear part, calibration, profile."""

from churn.model.churn_model import ChurnModel, ModelSource
from churn.model.encoder import Encoder
from churn.model.profile import Profile

__all__ = [
    "ChurnModel",
    "Encoder",
    "ModelSource",
    "Profile",
]
