"""Parameters of features, training and promotion."""

import itertools
from typing import Literal, Self

from pydantic import Field, model_validator

from churn.config.blocks import Block, Device, OpenShare, Seed, Share


class Ratio(Block):
    """A feature made of two numeric columns. It is missing where the denominator is zero or either is missing."""

    name: str = Field(description="Name of the feature.")
    numerator: str = Field(description="Numeric column above the line.")
    denominator: str = Field(description="Numeric column below the line.")


class FeatureEngineering(Block):
    """Split and encoding."""

    test_share: OpenShare = Field(default=0.3, description="Share of the accounts held out to test the model.")
    random_state: Seed = Field(default=31_459, description="Seed of the split, which is stratified by label.")
    ratios: tuple[Ratio, ...] = Field(default=(), description="Features that are the ratio of two numeric columns.")
    min_category_count: int = Field(
        default=10,
        ge=1,
        description="Training rows a category needs to get a feature of its own; rarer ones are encoded like unseen ones.",
    )


class Booster(Block):
    """Parameters of XGBoost, by its own names. All of them are passed on; the objective is `binary:logistic`."""

    n_estimators: int = Field(
        default=2000, ge=1, le=100_000, description="Most trees to grow; early stopping ends sooner."
    )
    learning_rate: float = Field(default=0.05, gt=0, le=1, description="Step size of each tree.")
    max_depth: int = Field(default=4, ge=0, le=64, description="Deepest tree, in levels; 0 for no limit.")
    max_leaves: int = Field(default=5, ge=0, description="Most leaves of a tree; 0 for no limit but `max_depth`.")
    grow_policy: Literal["depthwise", "lossguide"] = Field(
        default="lossguide", description="Where to split next: nearest the root, or where the loss falls most."
    )
    min_child_weight: float = Field(default=5.0, ge=0, description="Least sum of row weights (hessian) in a leaf.")
    gamma: float = Field(default=0.0, ge=0, description="Least loss reduction for a split.")
    reg_alpha: float = Field(default=0.0, ge=0, description="L1 regularisation of leaf weights.")
    reg_lambda: float = Field(default=5.0, ge=0, description="L2 regularisation of leaf weights.")
    subsample: float = Field(default=0.6, gt=0, le=1, description="Share of rows drawn for each tree.")
    colsample_bytree: float = Field(default=0.5, gt=0, le=1, description="Share of features drawn for each tree.")
    colsample_bylevel: float = Field(default=1.0, gt=0, le=1, description="Share of features drawn for each level.")
    colsample_bynode: float = Field(default=1.0, gt=0, le=1, description="Share of features drawn for each split.")
    max_bin: int = Field(default=64, ge=2, le=65_535, description="Histogram bins of a feature.")
    max_delta_step: float = Field(default=0.0, ge=0, description="Largest step of a leaf weight; 0 for no limit.")
    scale_pos_weight: float = Field(
        default=1.0, gt=0, description="Weight of churned rows; anything but 1 distorts the probabilities."
    )
    tree_method: Literal["hist", "approx", "exact"] = Field(default="hist", description="How splits are found.")


class RiskBand(Block):
    """A named range of probabilities that begins at `minimum` and ends at the next band's."""

    name: str = Field(min_length=1, description="Name of the band.")
    minimum: Share = Field(description="Smallest probability of the band.")


class Evaluation(Block):
    """How the model is measured."""

    method: Literal["hold_out", "cross_validation"] = Field(
        default="hold_out",
        description="`hold_out`: the test rows once; `cross_validation`: folds of all rows besides, everything refitted.",
    )
    folds: int = Field(default=5, ge=2, le=50, description="Folds of the cross-validation.")
    repeats: int = Field(default=3, ge=1, le=50, description="Repeats of the cross-validation, each with other folds.")
    bootstrap_samples: int = Field(
        default=200, ge=0, le=100_000, description="Bootstrap samples of the confidence intervals on the test rows."
    )
    confidence: OpenShare = Field(default=0.95, description="Confidence of the intervals.")
    rows: int = Field(
        default=250_000,
        ge=1_000,
        description="Most training rows, and most test rows, that anything but the trees looks at: leakage, measures, plots, "
        "baselines, the profile for monitoring, and for tables of a million rows or more the linear part and calibration; "
        "evenly spaced ones of a longer table.",
    )
    baselines: bool = Field(
        default=True,
        description="Whether logistic regression and histogram gradient boosting are measured beside the model.",
    )
    random_state: Seed = Field(default=31_459, description="Seed of folds, bootstrap and baselines.")


class Tuning(Block):
    """Search for parameters of the booster and of the encoding that suit the table."""

    enabled: bool = Field(default=False, description="Whether to search before training; takes as long as its trials.")
    trials: int = Field(default=50, ge=1, le=10_000, description="Most sets of parameters to try.")
    seconds: float = Field(
        default=600.0,
        gt=0,
        description="Time after which no further set is tried, in seconds; with it as the limit, "
        "results depend on the machine.",
    )
    random_state: Seed = Field(default=31_459, description="Seed of the search.")


class Leakage(Block):
    """What must not be known when an account is scored."""

    roc_auc_limit: float = Field(
        default=0.98, gt=0.5, le=1.0, description="ROC AUC of one column alone from which training stops."
    )
    allowed: tuple[str, ...] = Field(default=(), description="Columns that may be as telling as they are.")


class Training(Block):
    """Fitting, thresholds and bands."""

    booster: Booster = Field(default=Booster(), description="Parameters of XGBoost.")
    random_state: Seed = Field(default=31_459, description="Seed of XGBoost and of the folds.")
    folds: int = Field(
        default=5,
        ge=2,
        le=20,
        description="Folds of the training rows; for each a booster is grown on the others, and their average is the model.",
    )
    early_stopping_rounds: int = Field(
        default=50, ge=1, description="Trees without improvement of a fold's log loss after which growing stops."
    )
    tuning: Tuning = Field(default=Tuning(), description="Search for better parameters.")
    linear_weight: Share | None = Field(
        default=None,
        description="How much a logistic regression counts beside the trees, 0 for not at all; empty to learn it from rows "
        "that neither was fitted on.",
    )
    calibration: Literal["auto", "isotonic", "sigmoid", "none"] = Field(
        default="auto",
        description="How margins become probabilities: `sigmoid` a line in log-odds, `isotonic` a rising curve, `none` as "
        "they are; `auto` the curve where it is clearly better on rows it was not fitted on, else the line.",
    )
    evaluation: Evaluation = Field(default=Evaluation(), description="How the model is measured.")
    leakage: Leakage = Field(default=Leakage(), description="Columns that give the answer away.")
    only_if_changed: bool = Field(
        default=False,
        description="Whether a run ends before it begins where data, parameters, code and packages are those of the champion "
        "or of the last training.",
    )
    device: Device = Field(default="cpu", description="Where XGBoost trains: `cpu`, `cuda` or `cuda:<n>`.")
    threads: int = Field(default=0, ge=0, description="Threads of XGBoost; 0 for all cores.")
    threshold: OpenShare = Field(default=0.5, description="Probability from which an account is predicted to churn.")
    risk_bands: tuple[RiskBand, ...] = Field(
        default=(
            RiskBand(name="low", minimum=0.0),
            RiskBand(name="medium", minimum=0.2),
            RiskBand(name="high", minimum=0.5),
        ),
        min_length=1,
        description="Names of ranges of probability, in rising order; the first begins at 0.",
    )

    @model_validator(mode="after")
    def _bands_rise_from_zero(self) -> Self:
        starts = [band.minimum for band in self.risk_bands]
        if starts[0] != 0 or any(low >= high for low, high in itertools.pairwise(starts)):
            raise ValueError(f"risk_bands must begin at 0 and rise, but begin at {starts}")
        names = [band.name for band in self.risk_bands]
        if len(set(names)) < len(names):
            raise ValueError(f"risk_bands must have different names, not {names}")
        return self


class Promotion(Block):
    """What a new model, the challenger, must show to become the champion."""

    metric: Literal["roc_auc", "expected_profit"] = Field(
        default="roc_auc", description="Measure on the same test rows in which the challenger must not lose."
    )
    margin: float = Field(
        default=-0.005,
        description="Least gain over the champion: of ROC AUC, or of expected profit per account in currency; "
        "negative tolerates a loss.",
    )
    confidence: OpenShare = Field(
        default=0.8, description="Share of the paired bootstrap samples in which the gain must reach the margin."
    )
    bootstrap_samples: int = Field(default=500, ge=10, le=100_000, description="Paired bootstrap samples.")
    calibration_limit: Share = Field(
        default=0.05, description="Largest calibration error on the test rows, as a probability."
    )
    latency_limit: float = Field(
        default=2000.0, gt=0, description="Longest time to score 1,000 accounts, in milliseconds."
    )
    segments: tuple[str, ...] = Field(
        default=(), description="Categorical columns in each of whose categories the challenger must hold up."
    )
    segment_drop: Share = Field(
        default=0.05, description="Largest fall of ROC AUC below the champion's within a segment."
    )
    segment_rows: int = Field(
        default=200, ge=20, description="Test rows a segment needs to be judged; smaller ones tell too little."
    )
    random_state: Seed = Field(default=31_459, description="Seed of the bootstrap.")
    force: bool = Field(default=False, description="Promote whatever the gates say; the decision records it.")
