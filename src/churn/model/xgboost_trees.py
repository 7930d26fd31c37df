"""`Trees` implemented by XGBoost: margins and contributions of a booster, by table look-up where that is faster."""

import json
from functools import cached_property
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from churn.model.contributions import Attribution, by_column
from churn.model.device import CPU
from churn.model.few_margins import FewMargins
from churn.model.margins import LEAST_ROWS, Lookup
from churn.model.path_contributions import PathAttribution
from churn.model.trees import Booster, leaf_depths

# Tables of large trees take seconds and memory: of several threads that need them, one computes them.
_PREPARING = Lock()


class XGBoostTrees:
    """A booster with the objective ``binary:logistic``.

    Attributes:
        booster: The booster.
    """

    def __init__(self, booster: Booster) -> None:
        """Wrap a booster."""
        self.booster = booster
        self._attributions: dict[bytes, Attribution | PathAttribution | None] = {}
        # The booster prepared for a few rows; None in it if that would have other margins.
        self._few: tuple[FewMargins | None] | None = None

    @classmethod
    def from_bytes(cls, content: bytes) -> "XGBoostTrees":
        """Load trees that `to_bytes` stored. The content is not verified, and XGBoost may crash on damaged content."""
        import xgboost as xgb

        booster = xgb.Booster()
        booster.load_model(bytearray(content))
        return cls(booster)

    def to_bytes(self) -> bytes:
        """Return the booster as UBJSON of XGBoost."""
        return bytes(self.booster.save_raw("ubj"))

    @property
    def rounds(self) -> int:
        """Number of boosting rounds."""
        return int(self.booster.num_boosted_rounds())

    @property
    def work(self) -> int:
        """Operations of the contributions of a row, see `Trees.work`."""
        return sum(int(((depths + 1) ** 2).sum()) for depths in leaf_depths(self.booster))

    @property
    def device(self) -> str:
        """Device on which the booster predicts."""
        return str(json.loads(self.booster.save_config())["learner"]["generic_param"]["device"])

    def use(self, *, device: str, threads: int) -> None:
        """Set the device and the number of threads (0 for all cores) for predictions."""
        self.booster.set_param({"device": device, "nthread": threads})

    def margin(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the log-odds of encoded rows, see `Trees.margin`."""
        lookup = self._lookup if len(features) >= LEAST_ROWS and self.device == CPU else None
        margin = lookup.margin(features) if lookup else self.booster.inplace_predict(features, predict_type="margin")
        return np.asarray(margin, dtype=np.float32)

    def few_margins(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the log-odds of a few encoded rows, see `Trees.few_margins`."""
        if self._few is None:
            with _PREPARING:
                self._few = self._few or (FewMargins.of(self.booster),)
        (few,) = self._few
        if few is None or (few.most_rows is not None and len(features) > few.most_rows):
            return self.margin(features)
        return few.margin(features)

    def contributions(
        self, features: NDArray[np.float32], shares: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], float]:
        """Return the contributions of many rows, see `Trees.contributions`."""
        tables = self._tables(shares)
        if tables is None:
            parts, baseline = self._own_contributions(features)
            return by_column(parts, shares), baseline
        return tables.contributions(features), tables.baseline

    def row_contributions(self, features: NDArray[np.float32], shares: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the contributions of a few rows, see `Trees.row_contributions`."""
        tables = self._tables(shares)
        return self.contributions(features, shares)[0] if tables is None else tables.of_rows(features)

    def _tables(self, shares: NDArray[np.float64]) -> Attribution | PathAttribution | None:
        """What computes contributions, prepared once per model; None if its trees are too deep for it."""
        known = shares.tobytes()
        if known not in self._attributions:
            with _PREPARING:
                if known not in self._attributions:
                    made = Attribution.of(self.booster, shares) or PathAttribution.of(self.booster, shares)
                    self._attributions[known] = made
        return self._attributions[known]

    def few_contributions(
        self, features: NDArray[np.float32], shares: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], float]:
        """Return the contributions that XGBoost computes, which is faster than building the tables for a few rows."""
        parts, baseline = self._own_contributions(features)
        return parts @ shares, baseline

    def _own_contributions(self, features: NDArray[np.float32]) -> tuple[NDArray[np.float64], float]:
        """Return the contributions of features that XGBoost computes, shape (n, k), and the baseline."""
        import xgboost as xgb

        parts = self.booster.predict(xgb.DMatrix(features), pred_contribs=True).astype(np.float64)
        return parts[:, :-1], float(parts[0, -1]) if len(parts) else 0.0

    @cached_property
    def _lookup(self) -> Lookup | None:
        """Look-up tables of the booster's margins, computed once per model; None if its trees are too large for them."""
        return Lookup.of(self.booster)
