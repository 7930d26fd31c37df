"""Who can be persuaded: a model of the effect of a call, and whether its order beats that by risk.

The model is the R-learner (Nie and Wager 2021, doi:10.1093/biomet/asaa076): trees on the difference between an outcome and
what was expected of it, divided by the difference between an account's group and the probability of that group. The trees
start from the effect that the save rate gives, save rate times score, so that without evidence for anything else the order is
that by risk.

Whether the order is better is judged on accounts that the trees have not seen: by the area between the curves of what each
order brings (Qini; Radcliffe 2007), with the standard error of Yadlowsky, Fleming, Shah, Brunskill and Wager (2025,
doi:10.1080/01621459.2024.2393466) for differences of rank-weighted effects. The area is in currency per account, costs included.
"""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn.config import AccountSchema, EffectModel, Experiment
from churn.experiment.cohort import FEATURE
from churn.experiment.effect import normal_quantile
from churn.experiment.save_rate import CallEffect
from churn.model import Encoder

if TYPE_CHECKING:
    import xgboost as xgb

Floats = NDArray[np.float64]

# Few shallow trees with small steps: effects are far smaller than the noise of single outcomes.
TREES = {
    "objective": "reg:squarederror",
    "base_score": 0.0,
    "tree_method": "hist",
    "max_depth": 3,
    "learning_rate": 0.03,
    "min_child_weight": 10,
    "reg_lambda": 10,
    "subsample": 0.7,
    "colsample_bytree": 0.7,
}
ROUNDS = 200
# Fits an encoder to account rows: training is another room.
EncoderOf = Callable[[pd.DataFrame], Encoder]


@dataclass(frozen=True, eq=False)
class EffectTrees:
    """A model of the effect of a call: the mean of boosters, each grown on all folds but one.

    Attributes:
        encoder: Encoder of the account columns.
        save_rate: The save rate that the trees start from.
        boosters: The boosters as XGBoost's UBJSON.
    """

    encoder: Encoder
    save_rate: float
    boosters: tuple[bytes, ...]

    def saved(self, accounts: pd.DataFrame, probability: NDArray[np.floating[Any]]) -> Floats:
        """Return the probability that a call keeps each account, shape (n,); negative where it drives the account away.

        Args:
            accounts: Canonical account rows, n of them.
            probability: Their probabilities of churn, shape (n,).
        """
        import xgboost as xgb

        score = np.asarray(probability, dtype=np.float64)
        rows = _matrix(self.encoder, accounts, score, self.save_rate)
        kept = np.zeros(len(score))
        for stored in self.boosters:
            booster = xgb.Booster({"nthread": 1})
            booster.load_model(bytearray(stored))
            kept += booster.predict(rows)
        return np.asarray(kept / len(self.boosters))

    def to_json(self) -> str:
        """Return the model as JSON, from which `from_json` restores an equal one."""
        return json.dumps(
            {
                "encoder": self.encoder.to_dict(),
                "save_rate": self.save_rate,
                "boosters": [base64.b64encode(each).decode() for each in self.boosters],
            }
        )

    @classmethod
    def from_json(cls, stored: str) -> Self:
        """Restore a model from the result of `to_json`."""
        known = json.loads(stored)
        boosters = tuple(base64.b64decode(each) for each in known["boosters"])
        return cls(Encoder.from_dict(known["encoder"]), float(known["save_rate"]), boosters)


def effects_in_use(experiment: Experiment, known: CallEffect | None) -> EffectTrees | None:
    """Return the model of the effect, if `experiment.use` is true and the order by effect has proved better."""
    if not experiment.use or known is None or not known.order.in_use or known.order.trees is None:
        return None
    return EffectTrees.from_json(known.order.trees)


class Fitted(NamedTuple):
    """A model of the effect, and what it says of accounts that it has not seen.

    Attributes:
        trees: The model.
        saved: Out-of-fold: for each account the probability that a call keeps it, by the booster that was not grown on it,
            shape (n,).
    """

    trees: EffectTrees
    saved: Floats


def fit_effects(
    rows: pd.DataFrame,
    save_rate: float,
    schema: AccountSchema,
    encoder_of: EncoderOf,
    settings: EffectModel,
) -> Fitted:
    """Fit the model of the effect to the accounts of the campaigns whose outcome is known.

    Args:
        rows: Rows of `churn.experiment.record.Record` with a known outcome, n of them.
        save_rate: Save rate that the trees start from.
        schema: Schema of the account table.
        encoder_of: Returns the encoder that is fitted to account rows, see `churn.training.encoding.fit_encoder`.
        settings: Folds and seed.
    """
    accounts = _accounts(rows, schema)
    encoder = encoder_of(accounts)
    score, share = rows["probability"].to_numpy(np.float64), 1 - rows["share"].to_numpy(np.float64)
    called, stayed = ~rows["held_out"].to_numpy(bool), 1 - rows["churned"].to_numpy(np.float64)
    group = called - share
    expected = 1 - score + share * save_rate * score
    whole = _matrix(encoder, accounts, score, save_rate)
    whole.set_label((stayed - expected) / group)
    whole.set_weight(group**2)
    folds = np.random.default_rng(settings.random_state).permutation(len(rows)) % settings.folds
    parameters = {**TREES, "seed": settings.random_state, "nthread": 1}
    parts = [
        (whole.slice(np.flatnonzero(folds != k)), whole.slice(np.flatnonzero(folds == k)))
        for k in range(settings.folds)
    ]
    grown = [_grown(parameters, *part) for part in parts]
    # One number of trees for all: that with the smallest loss over all held-out folds together.
    losses = np.mean([losses for _, losses in grown], axis=0)
    best = int(np.argmin(losses)) + 1
    boosters = [booster[:best] for booster, _ in grown]
    saved = np.empty(len(rows))
    for k, (booster, (_, held)) in enumerate(zip(boosters, parts, strict=True)):
        saved[folds == k] = booster.predict(held)
    stored = tuple(bytes(booster.save_raw("ubj")) for booster in boosters)
    return Fitted(EffectTrees(encoder, save_rate, stored), saved)


def _grown(parameters: dict[str, Any], part: "xgb.DMatrix", held: "xgb.DMatrix") -> tuple["xgb.Booster", Floats]:
    """Return a booster, and its loss on the fold that it has not seen after each tree."""
    import xgboost as xgb

    told: dict[str, dict[str, list[float]]] = {}
    booster = xgb.train(parameters, part, ROUNDS, evals=[(held, "held")], evals_result=told, verbose_eval=False)
    return booster, np.array(told["held"]["rmse"])


def _accounts(rows: pd.DataFrame, schema: AccountSchema) -> pd.DataFrame:
    """Return the account columns of a record as a canonical table; those that it lacks are missing."""
    columns: dict[str, Any] = {}
    for name in schema.numeric_names:
        found = rows.get(f"{FEATURE}{name}")
        columns[name] = np.full(len(rows), np.nan) if found is None else found.to_numpy(np.float64, na_value=np.nan)
    for name in schema.categorical:
        found = rows.get(f"{FEATURE}{name}")
        columns[name] = pd.array([None] * len(rows), dtype="str") if found is None else found.astype("str").array
    return pd.DataFrame(columns)


def _matrix(encoder: Encoder, accounts: pd.DataFrame, score: Floats, save_rate: float) -> "xgb.DMatrix":
    import xgboost as xgb

    encoded = np.asarray(encoder.transform(accounts), dtype=np.float32)
    features = np.column_stack([encoded, score.astype(np.float32)])
    return xgb.DMatrix(features, base_margin=save_rate * score)


class Gain(NamedTuple):
    """What one order brings over another, in currency per account, with a confidence interval.

    Attributes:
        value: Area between the two curves of what is brought against the share that is called.
        low: Lower end of the interval.
        high: Upper end.
    """

    value: float
    low: float
    high: float


def gain_of_order(money: Floats, new: Floats, old: Floats, confidence: float) -> Gain:
    """Return what calling accounts in a new order brings over an old one, averaged over all shares to call.

    Args:
        money: Doubly robust terms of what a call brings, in currency, shape (n,).
        new: Numbers by which the new order ranks, largest first, that do not depend on the outcome, shape (n,).
        old: Those of the old order, shape (n,).
        confidence: Confidence of the interval.
    """
    terms = money * (_places(old) - _places(new))
    value, error = float(terms.mean()), float(terms.std(ddof=1) / np.sqrt(len(terms)))
    half = normal_quantile(confidence) * error
    return Gain(value, value - half, value + half)


def _places(ranked_by: Floats) -> Floats:
    """Return the place of each account in an order, from 0 for the first to 1; equal ones share their mean place."""
    places = pd.Series(-ranked_by).rank(method="average").to_numpy(np.float64)
    return np.asarray((places - 0.5) / len(ranked_by))
