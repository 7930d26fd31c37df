"""Who can be persuaded: a model of the effect of a call."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn.config import Experiment
from churn.experiment.save_rate import CallEffect


class EffectTrees:
    """A model of the effect of a call."""

    def saved(self, accounts: pd.DataFrame, probability: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Return the probability that a call keeps each account, shape (n,)."""
        raise NotImplementedError


def effects_in_use(experiment: Experiment, known: CallEffect | None) -> EffectTrees | None:
    """Return the model of the effect, if `experiment.use` is true and the order by effect has proved better."""
    return None
