"""Parameters of features, training and promotion."""

import itertools
from typing import Literal, Self

from pydantic import Field, model_validator

from churn.config.blocks import Block, Device, OpenShare, Seed, Share


class Ratio(Block):
    """A ratio of two numeric columns as a feature. It is missing if the denominator is zero or a value is missing."""

    name: str = Field(description="Name of the feature.")
    numerator: str = Field(description="Numeric column of the numerator.")
    denominator: str = Field(description="Numeric column of the denominator.")


class FeatureEngineering(Block):
    """Split and encoding."""

    test_share: OpenShare = Field(default=0.3, description="Share of the accounts held out to test the model.")
    random_state: Seed = Field(
        default=31_459,
        description="Key of the split, which is by a hash of the id: with the same key and share, an account is a test row in "
        "every training or in none.",
    )
    ratios: tuple[Ratio, ...] = Field(default=(), description="Features that are the ratio of two numeric columns.")
    min_category_count: int = Field(
        default=10,
        ge=1,
        description="Minimum number of training rows for a category to become a feature; rarer ones count as unseen.",
    )
    target_encoding: Literal["auto", "off"] = Field(
        default="auto",
        description="`auto`: a categorical column with many categories becomes one number, the log-odds of the churn rate of its "
        "category; with more than ten if that is better on rows not grown on, with more than 255 always. `off`: a 0/1 feature "
        "for each category, however many there are.",
    )
    differences: Literal["auto", "off"] = Field(
        default="auto",
        description="`auto`: how far numeric columns that go together are apart, such as this month and the average, becomes a "
        "feature if that is clearly better on rows not grown on. `off`: it never does.",
    )


class Booster(Block):
    """Parameters of XGBoost, by its own names. XGBoost receives all of them; the objective is `binary:logistic`."""

    n_estimators: int = Field(
        default=2000, ge=1, le=100_000, description="Maximum number of trees; early stopping ends sooner."
    )
    learning_rate: float = Field(default=0.05, gt=0, le=1, description="Step size of each tree.")
    max_depth: int = Field(
        default=4,
        ge=0,
        le=64,
        description="Maximum depth of a tree, in levels; 0 for no limit. A tree with n leaves has at most n - 1 levels.",
    )
    max_leaves: int = Field(default=5, ge=0, description="Maximum number of leaves of a tree; 0 for no limit.")
    grow_policy: Literal["depthwise", "lossguide"] = Field(
        default="lossguide", description="Where to split next: nearest the root, or where the loss falls most."
    )
    min_child_weight: float = Field(default=5.0, ge=0, description="Minimum sum of row weights (hessian) in a leaf.")
    gamma: float = Field(default=0.0, ge=0, description="Minimum loss reduction for a split.")
    reg_alpha: float = Field(default=0.0, ge=0, description="L1 regularisation of leaf weights.")
    reg_lambda: float = Field(default=5.0, ge=0, description="L2 regularisation of leaf weights.")
    subsample: float = Field(default=0.6, gt=0, le=1, description="Share of rows drawn for each tree.")
    colsample_bytree: float = Field(default=0.5, gt=0, le=1, description="Share of features drawn for each tree.")
    colsample_bylevel: float = Field(default=1.0, gt=0, le=1, description="Share of features drawn for each level.")
    colsample_bynode: float = Field(default=1.0, gt=0, le=1, description="Share of features drawn for each split.")
    max_bin: int = Field(default=64, ge=2, le=65_535, description="Number of histogram bins of a feature.")
    max_delta_step: float = Field(default=0.0, ge=0, description="Maximum step of a leaf weight; 0 for no limit.")
    scale_pos_weight: float = Field(
        default=1.0, gt=0, description="Weight of churned rows; any value other than 1 distorts the probabilities."
    )
    tree_method: Literal["hist", "approx", "exact"] = Field(default="hist", description="Algorithm that finds splits.")
    monotone_constraints: tuple[Literal[-1, 0, 1], ...] = Field(
        default=(), description="A direction for each feature, in their order. `training.monotone` sets it by column."
    )


class RiskBand(Block):
    """A named range of probabilities that begins at `minimum` and ends at the next band's."""

    name: str = Field(min_length=1, description="Name of the band.")
    minimum: Share = Field(description="Smallest probability of the band.")


class Evaluation(Block):
    """Evaluation of the model."""

    method: Literal["hold_out", "cross_validation"] = Field(
        default="hold_out",
        description="`hold_out`: the test rows once; `cross_validation`: also folds of all rows, with everything refitted.",
    )
    folds: int = Field(default=5, ge=2, le=50, description="Number of folds of the cross-validation.")
    repeats: int = Field(default=3, ge=1, le=50, description="Repeats of the cross-validation, each with other folds.")
    bootstrap_samples: int = Field(
        default=200, ge=0, le=100_000, description="Bootstrap samples for the confidence intervals on the test rows."
    )
    confidence: OpenShare = Field(default=0.95, description="Confidence level of the intervals.")
    rows: int = Field(
        default=250_000,
        ge=1_000,
        description="Maximum number of training rows, and of test rows, for everything but the trees: leakage, metrics, plots, "
        "baselines, the reference profile, and for tables of a million rows or more the linear part and calibration. Of a "
        "longer table, evenly spaced rows are used.",
    )
    baselines: bool = Field(
        default=True,
        description="Whether logistic regression and histogram gradient boosting are evaluated as baselines.",
    )
    random_state: Seed = Field(default=31_459, description="Seed of folds, bootstrap and baselines.")


class Tuning(Block):
    """Search for parameters of the booster and of the encoder that suit the table."""

    enabled: bool = Field(
        default=False, description="Whether to search before training, which takes the time of all trials."
    )
    trials: int = Field(default=50, ge=1, le=10_000, description="Maximum number of trials.")
    seconds: float = Field(
        default=600.0,
        gt=0,
        description="Time after which no further trial starts, in seconds; if it ends the search, "
        "the result depends on the machine.",
    )
    random_state: Seed = Field(default=31_459, description="Seed of the search.")


class Leakage(Block):
    """Check for columns that reveal the outcome."""

    roc_auc_limit: float = Field(
        default=0.98, gt=0.5, le=1.0, description="ROC AUC of a single column from which training stops."
    )
    allowed: tuple[str, ...] = Field(default=(), description="Columns that may exceed the limit.")


class Training(Block):
    """Fitting, thresholds and bands."""

    booster: Booster = Field(default=Booster(), description="Parameters of XGBoost.")
    portfolio: Literal["full", "quick"] = Field(
        default="full",
        description="`full` also grows boosters with larger trees and weighs all settings by their out-of-fold log loss; of a "
        "table of a million rows or more, one setting is chosen on a sample. `quick` uses `booster` alone, in a fraction of the "
        "time.",
    )
    monotone: dict[str, Literal[-1, 1]] = Field(
        default={},
        description="Numeric columns in which the risk may only rise (1) or only fall (-1), for example "
        "`{payment_methods: -1}`; other things being equal, no account then contradicts it.",
    )
    random_state: Seed = Field(default=31_459, description="Seed of XGBoost and of the folds.")
    folds: int = Field(
        default=5,
        ge=2,
        le=20,
        description="Folds of the training rows. For each fold a booster is grown on the others; the model averages them. "
        "There are at most 3 folds of 50,000 training rows or more, and 2 of 150,000 or more.",
    )
    early_stopping_rounds: int = Field(
        default=50, ge=1, description="Number of trees without a lower log loss of the fold after which growing stops."
    )
    tuning: Tuning = Field(default=Tuning(), description="Search for better parameters.")
    linear_weight: Share | None = Field(
        default=None,
        description="Weight of the logistic regression beside the trees, 0 for none; empty to learn it from out-of-fold "
        "raw scores.",
    )
    calibration: Literal["auto", "isotonic", "sigmoid", "none"] = Field(
        default="auto",
        description="Function from raw score to probability: `sigmoid` is linear in log-odds, `isotonic` an increasing curve, "
        "`none` no calibration; `auto` selects `isotonic` if it is clearly better in cross-validation, else `sigmoid`.",
    )
    evaluation: Evaluation = Field(default=Evaluation(), description="Evaluation of the model.")
    leakage: Leakage = Field(default=Leakage(), description="Check for columns that reveal the outcome.")
    only_if_changed: bool = Field(
        default=False,
        description="Whether training is skipped if data, parameters, code and packages are those of the champion "
        "or of the last training.",
    )
    device: Device = Field(default="cpu", description="Device on which XGBoost trains: `cpu`, `cuda` or `cuda:<n>`.")
    threads: int = Field(default=0, ge=0, description="Number of threads of XGBoost; 0 for all cores.")
    threshold: OpenShare = Field(default=0.5, description="Probability from which an account is predicted to churn.")
    risk_bands: tuple[RiskBand, ...] = Field(
        default=(
            RiskBand(name="low", minimum=0.0),
            RiskBand(name="medium", minimum=0.2),
            RiskBand(name="high", minimum=0.5),
        ),
        min_length=1,
        description="Named ranges of probabilities, in increasing order; the first begins at 0.",
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
    """The gates that a new model, the challenger, must pass to become the champion."""

    metric: Literal["roc_auc", "expected_profit"] = Field(
        default="roc_auc", description="Metric on the same test rows in which the challenger must not lose."
    )
    margin: float = Field(
        default=-0.005,
        description="Gain over the champion that is needed: of ROC AUC, or of expected profit per account in currency; "
        "a negative value tolerates a loss.",
    )
    confidence: OpenShare = Field(
        default=0.95,
        description="Confidence of the comparison: a challenger is refused if it is worse than the margin with this confidence; "
        "with a margin above 0, it is promoted if it is better with this confidence.",
    )
    log_loss_rise: float = Field(
        default=0.002,
        ge=0,
        description="Rise of the log loss above the champion's that is tolerated, with a margin of at most 0; the log loss "
        "also rises where the ranking is right and the probabilities are wrong.",
    )
    bootstrap_samples: int = Field(default=500, ge=10, le=100_000, description="Number of paired bootstrap samples.")
    calibration_limit: Share = Field(
        default=0.05, description="Maximum calibration error on the test rows, as a probability."
    )
    latency_limit: float = Field(
        default=2000.0, gt=0, description="Maximum time to score 1,000 accounts, in milliseconds."
    )
    segments: tuple[str, ...] | None = Field(
        default=None,
        description="Categorical columns; the gate compares both models in each of their categories. Empty for the column with "
        "the most categories of enough rows, `[]` for none.",
    )
    segment_drop: Share = Field(
        default=0.05,
        description="Fall of ROC AUC below the champion's within a segment that is tolerated; the challenger is refused if "
        "the fall is larger with the confidence of the comparison.",
    )
    segment_rows: int = Field(
        default=200, ge=20, description="Minimum number of test rows of a segment; smaller ones do not count."
    )
    random_state: Seed = Field(default=31_459, description="Seed of the bootstrap.")
    force: bool = Field(default=False, description="Promote even if gates refuse; the decision records it.")
