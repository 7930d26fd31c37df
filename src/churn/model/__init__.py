"""`ChurnModel`, the artifact that is deployed, and its parts: encoder, trees, linear part, calibration, profile."""

from churn.model.churn_model import ChurnModel, ModelSource
from churn.model.encoder import Encoder
from churn.model.profile import Profile
from churn.model.small import PartialScores, RowScore
from churn.tables.rows import RowFault

__all__ = [
    "ChurnModel",
    "Encoder",
    "ModelSource",
    "PartialScores",
    "Profile",
    "RowFault",
    "RowScore",
]
