"""XGBoost behind `Trees`: margins and contributions of a booster, by look-up where that is faster."""

import json
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from churn.model.contributions import Attribution
from churn.model.device import CPU
from churn.model.margins import LEAST_ROWS, Lookup
from churn.model.trees import Booster


class XGBoostTrees:
    """A booster with the objective ``binary:logistic``.

    Attributes:
        booster: The booster.
    """

    def __init__(self, booster: Booster) -> None:
        """Take a booster."""
        self.booster = booster
        self._attributions: dict[bytes, Attribution | None] = {}

    @classmethod
    def from_bytes(cls, content: bytes) -> "XGBoostTrees":
        """The trees that `to_bytes` stored. Nothing checks them here: XGBoost may crash on damaged ones."""
        import xgboost as xgb

        booster = xgb.Booster()
        booster.load_model(bytearray(content))
        return cls(booster)

    def to_bytes(self) -> bytes:
        """The booster in XGBoost's UBJSON."""
        return bytes(self.booster.save_raw("ubj"))

    @property
    def rounds(self) -> int:
        """Rounds of boosting."""
        return int(self.booster.num_boosted_rounds())

    @property
    def device(self) -> str:
        """Where the booster predicts."""
        return str(json.loads(self.booster.save_config())["learner"]["generic_param"]["device"])

    def use(self, *, device: str, threads: int) -> None:
        """Set where and with how many threads (0 for all cores) the booster predicts."""
        self.booster.set_param({"device": device, "nthread": threads})

    def margin(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Log-odds of encoded rows, see `Trees.margin`."""
        lookup = self._lookup if len(features) >= LEAST_ROWS and self.device == CPU else None
        margin = lookup.margin(features) if lookup else self.booster.inplace_predict(features, predict_type="margin")
        return np.asarray(margin, dtype=np.float32)

    def contributions(
        self, features: NDArray[np.float32], shares: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], float]:
        """Contributions of many rows, see `Trees.contributions`."""
        known = shares.tobytes()
        if known not in self._attributions:
            # Look-up tables, made once a model; None where its trees are too deep for them.
            self._attributions[known] = Attribution.of(self.booster, shares)
        tables = self._attributions[known]
        if tables is None:
            return self.few_contributions(features, shares)
        return tables.contributions(features), tables.baseline

    def few_contributions(
        self, features: NDArray[np.float32], shares: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], float]:
        """Contributions as XGBoost gives them; for a few rows, as the tables would take longer to make."""
        import xgboost as xgb

        parts = self.booster.predict(xgb.DMatrix(features), pred_contribs=True).astype(np.float64)
        baseline = float(parts[0, -1]) if len(parts) else 0.0
        return parts[:, :-1] @ shares, baseline

    @cached_property
    def _lookup(self) -> Lookup | None:
        """Tables that give the booster's margins, made once a model; None where its trees are too large for them."""
        return Lookup.of(self.booster)
