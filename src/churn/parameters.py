"""Typed models of every parameter block in ``conf/*/parameters_*.yml``.

Kedro builds these models from the YAML before any node runs and hands them to the nodes; ``check_parameters``
checks the whole tree at once, so that a misspelt key is refused wherever it stands. The descriptions carry the
unit; ``docs/parameters.md`` is generated from them (``make docs``).
"""

import difflib
import itertools
from collections.abc import Iterator
from datetime import date
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from churn.errors import ParametersError

Share = Annotated[float, Field(ge=0.0, le=1.0)]
OpenShare = Annotated[float, Field(gt=0.0, lt=1.0)]
Device = Annotated[str, Field(pattern=r"^(cpu|cuda(:\d+)?)$")]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]


class Block(BaseModel):
    """A block of parameters: immutable, finite, and closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


# --- accounts ---------------------------------------------------------------------------------------------------


class Label(Block):
    """The column that says what became of an account."""

    column: str = Field(description="Name of the label column.")
    positive: Annotated[str, BeforeValidator(lambda value: str(value))] = Field(
        default="True",
        description="Value that means churned; letter case does not count, so `True` also matches `true`.",
    )


class NumericColumn(Block):
    """A column of numbers and the range its values may have."""

    column: str = Field(description="Name of the column.")
    minimum: float | None = Field(default=None, description="Smallest value allowed, in the column's unit.")
    maximum: float | None = Field(default=None, description="Largest value allowed, in the column's unit.")
    integer: bool = Field(default=False, description="Whether only whole numbers are allowed.")

    @model_validator(mode="after")
    def _range_is_not_empty(self) -> Self:
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(f"minimum {self.minimum} is above maximum {self.maximum}")
        return self


def _named(value: Any) -> Any:
    return {"column": value} if isinstance(value, str) else value


class NotAbove(Block):
    """A rule between two numeric columns."""

    column: str = Field(description="Numeric column whose values must not be above those of `limit`.")
    limit: str = Field(description="Numeric column that is the limit.")


class Accounts(Block):
    """What each column of the account table is. Another account table is another set of these roles."""

    id: str = Field(description="Column that identifies an account: unique, never empty, read as text.")
    label: Label = Field(description="The label column and its positive value.")
    numeric: tuple[Annotated[NumericColumn, BeforeValidator(_named)], ...] = Field(
        default=(), description="Columns of numbers: a name, or a name with its range."
    )
    categorical: tuple[str, ...] = Field(default=(), description="Columns of categories, read as text.")
    left_out: tuple[str, ...] = Field(
        default=(), description="Columns that are known and not used, for example dates or free text."
    )
    not_above: tuple[NotAbove, ...] = Field(
        default=(), description="Pairs of numeric columns of which the first must not be above the second."
    )
    strict: bool = Field(
        default=False, description="Whether a column without a role is refused; otherwise it is reported and ignored."
    )

    @property
    def numeric_names(self) -> tuple[str, ...]:
        """Names of the numeric columns, in declared order."""
        return tuple(item.column for item in self.numeric)

    @property
    def text_columns(self) -> tuple[str, ...]:
        """Columns that are read as text whatever they look like: id, label and categories."""
        return (self.id, self.label.column, *self.categorical)

    @model_validator(mode="after")
    def _roles_do_not_overlap(self) -> Self:
        if not self.numeric and not self.categorical:
            raise ValueError("name at least one numeric or categorical column")
        named = [*self.text_columns, *self.numeric_names, *self.left_out]
        twice = sorted({name for name in named if named.count(name) > 1})
        if twice:
            raise ValueError(f"a column has one role only, but these are named more than once: {', '.join(twice)}")
        unknown = sorted(
            {name for rule in self.not_above for name in (rule.column, rule.limit)} - set(self.numeric_names)
        )
        if unknown:
            raise ValueError(f"not_above names columns that are not numeric columns: {', '.join(unknown)}")
        return self


# --- data_generation --------------------------------------------------------------------------------------------


class Simulation(Block):
    """The simulated account tables (used where the environment names no account table of its own)."""

    signal: Literal["realistic", "none"] = Field(
        default="realistic",
        description="`realistic`: churn follows the documented probability model; `none`: a coin flip that no model can predict.",
    )
    training_rows: int = Field(default=30_000, ge=1, le=100_000_000, description="Accounts to train on.")
    scoring_rows: int = Field(default=30_000, ge=1, le=100_000_000, description="Accounts to score.")
    training_seed: Seed = Field(default=31_459, description="Seed of the training snapshot.")
    scoring_seed: Seed = Field(default=42, description="Seed of the scoring snapshot.")
    base_rate: OpenShare = Field(
        default=0.12, description="Share of accounts that churn, on average (`realistic`; a coin flip has 0.5)."
    )
    missing_share: float = Field(
        default=0.04,
        ge=0.0,
        le=0.5,
        description="Average share of missing values in the columns that have them in practice (`realistic` only).",
    )
    drift: Share = Field(
        default=0.0, description="Strength of the shift of the scoring snapshot: 0 none, 1 strong (`realistic` only)."
    )

    @model_validator(mode="after")
    def _snapshots_are_different(self) -> Self:
        if self.training_seed == self.scoring_seed:
            raise ValueError(
                f"training_seed and scoring_seed are both {self.training_seed}: both snapshots would be alike"
            )
        return self


class Staging(Block):
    """How an account table of your own becomes a training and a scoring snapshot."""

    scoring_share: OpenShare = Field(
        default=0.2, description="Share of the labelled accounts held out as the scoring snapshot, stratified by label."
    )
    random_state: Seed = Field(default=42, description="Seed of the hold-out.")


# --- feature_engineering ----------------------------------------------------------------------------------------


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


# --- training ---------------------------------------------------------------------------------------------------


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


# --- acting on the scores ---------------------------------------------------------------------------------------


class Profit(Block):
    """What acting on an account costs and brings, in one currency."""

    contact_cost: float = Field(default=5.0, ge=0, description="Cost of contacting an account, in currency.")
    offer_cost: float = Field(
        default=50.0, ge=0, description="Cost of the offer where an account takes it, in currency."
    )
    save_rate: Share = Field(default=0.3, description="Chance that the offer keeps an account that would leave.")
    save_rate_certainty: float = Field(
        default=20.0,
        gt=0,
        description="How sure the save rate is: the sum of the parameters of its beta distribution (6 and 14 by default).",
    )
    account_value: float = Field(default=600.0, gt=0, description="What keeping an account is worth, in currency.")
    value_column: str | None = Field(
        default=None,
        description="Numeric column with the worth of each account; where it is missing, `account_value` counts.",
    )


class Decision(Block):
    """Which accounts to act on."""

    rule: Literal["profit", "threshold", "capacity"] = Field(
        default="profit",
        description="`profit`: where acting is expected to pay; `threshold`: from `training.threshold` on; "
        "`capacity`: the accounts where it pays most, as many as can be called.",
    )
    capacity: int = Field(default=500, ge=1, description="Accounts that can be called (`capacity`).")
    list_length: int = Field(
        default=100_000,
        ge=1,
        description="Most accounts on the retention list, those where acting pays most; the scores are of all accounts.",
    )


class ReasonText(Block):
    """Sentences about one column. `{value}` is the account's value, `{typical}` the median or most frequent one."""

    column: str = Field(description="Column of the account table.")
    high: str | None = Field(default=None, description="Where a number above the typical one raises the risk.")
    low: str | None = Field(default=None, description="Where a number at or below the typical one raises the risk.")
    category: str | None = Field(default=None, description="Where a category raises the risk.")
    missing: str | None = Field(default=None, description="Where a missing value raises the risk.")


class Reasons(Block):
    """Why an account is at risk, in words."""

    count: int = Field(default=3, ge=1, le=20, description="Most reasons an account gets.")
    minimum_probability: Share = Field(
        default=0.0, description="Probability from which an account gets reasons; they cost more time than scores."
    )
    texts: tuple[ReasonText, ...] = Field(
        default=(), description="Sentences for single columns; others get a general one."
    )


# --- inference and monitoring -----------------------------------------------------------------------------------


class Inference(Block):
    """Scoring and publishing."""

    as_of: date | None = Field(
        default=None, description="Date of the scoring snapshot (YYYY-MM-DD); empty for the day of the run."
    )
    device: Device = Field(default="cpu", description="Where XGBoost scores: `cpu`, `cuda` or `cuda:<n>`.")
    incremental: bool = Field(
        default=False,
        description="Score only the files of the table whose content no earlier run scored; for tables of several files.",
    )
    rescore: bool = Field(
        default=False,
        description="With `incremental`: score also the files that another model scored, as after a promotion.",
    )


class Monitoring(Block):
    """From when on the health report raises its voice."""

    psi_watch: float = Field(
        default=0.1, gt=0, description="Population stability index from which a column is to be watched."
    )
    psi_alarm: float = Field(
        default=0.25, gt=0, description="Population stability index from which a column is an alarm."
    )
    missing_rise: Share = Field(
        default=0.05, description="Rise of a column's share of missing values from which it is an alarm."
    )
    unseen_share: Share = Field(
        default=0.01, description="Share of categories unseen in training from which a column is an alarm."
    )
    roc_auc_drop: Share = Field(
        default=0.05, description="Fall of realised ROC AUC below the one at training from which it is an alarm."
    )
    calibration_error: Share = Field(
        default=0.05, description="Realised calibration error from which it is an alarm, as a probability."
    )

    @model_validator(mode="after")
    def _watch_comes_before_alarm(self) -> Self:
        if self.psi_watch > self.psi_alarm:
            raise ValueError(f"psi_watch {self.psi_watch} is above psi_alarm {self.psi_alarm}")
        return self


EventKind = Literal["trained", "promoted", "not_promoted", "scored", "health_alarm", "failed"]


class Notifications(Block):
    """Who is told of what happens. Where to is in `credentials.yml`."""

    events: tuple[EventKind, ...] = Field(
        default=get_args(EventKind), description="Events that are told of; none for silence."
    )
    cool_down: float = Field(
        default=60.0, ge=0, description="Minutes in which the same message is not sent again; 0 sends each."
    )
    attempts: int = Field(default=4, ge=1, le=10, description="How often a message is sent to where it is not taken.")
    wait: float = Field(
        default=0.5, ge=0, description="Seconds before the second attempt; twice as long before each further one."
    )
    timeout: float = Field(default=5.0, gt=0, description="Seconds in which an answer has to come.")


class Watch(Block):
    """When `churn watch` trains and scores."""

    poll: float = Field(default=60.0, gt=0, description="Seconds from look to look at the tables.")
    quiet: float = Field(
        default=10.0, ge=0, description="Seconds in which nothing of a table may have changed before it is taken."
    )
    attempts: int = Field(
        default=3, ge=1, description="How often a run is tried before it is given up until something changes."
    )
    backoff: float = Field(
        default=60.0, ge=0, description="Seconds before the second attempt; twice as long before each further one."
    )
    host: str = Field(default="127.0.0.1", min_length=1, description="Address at which events and health are answered.")
    port: int = Field(default=8787, ge=1, le=65_535, description="Its port.")


class Parameters(Block):
    """The whole tree of parameters."""

    accounts: Accounts = Field(description="Roles of the columns of the account table.")
    simulation: Simulation = Field(default=Simulation(), description="Simulated account tables.")
    staging: Staging = Field(default=Staging(), description="Snapshots from an account table of your own.")
    feature_engineering: FeatureEngineering = Field(default=FeatureEngineering(), description="Split and encoding.")
    training: Training = Field(default=Training(), description="Fitting, thresholds and bands.")
    promotion: Promotion = Field(default=Promotion(), description="When a new model becomes the champion.")
    profit: Profit = Field(default=Profit(), description="What acting on an account costs and brings.")
    decision: Decision = Field(default=Decision(), description="Which accounts to act on.")
    reasons: Reasons = Field(default=Reasons(), description="Why an account is at risk, in words.")
    inference: Inference = Field(default=Inference(), description="Scoring and publishing.")
    monitoring: Monitoring = Field(default=Monitoring(), description="Limits of the health report.")
    watch: Watch = Field(default=Watch(), description="When `churn watch` trains and scores.")
    notifications: Notifications = Field(default=Notifications(), description="Who is told of what happens.")
    model_uri: str | None = Field(
        default=None,
        min_length=1,
        description="Model to score with, on the command line only: `models:/churn/3`, `runs:/<run id>/model`, a folder, "
        "or `<experiment>/<run>/artifacts`. Empty for the champion.",
    )

    @model_validator(mode="after")
    def _ratios_use_numeric_columns(self) -> Self:
        numeric = set(self.accounts.numeric_names)
        taken = numeric | set(self.accounts.text_columns)
        for ratio in self.feature_engineering.ratios:
            unknown = sorted({ratio.numerator, ratio.denominator} - numeric)
            if unknown:
                raise ValueError(
                    f"feature_engineering.ratios: '{ratio.name}' uses {', '.join(unknown)}, "
                    "which accounts.numeric does not name"
                )
            if ratio.name in taken:
                raise ValueError(f"feature_engineering.ratios: '{ratio.name}' is already the name of a column")
            taken.add(ratio.name)
        return self


def check_parameters(raw: dict[str, Any]) -> Parameters:
    """Build the typed parameters from the merged YAML and command-line values.

    Args:
        raw: Nested dictionary of parameters.

    Returns:
        The typed parameters.

    Raises:
        ParametersError: Lists every unknown, ill-typed or out-of-range parameter with its value and what would do.
    """
    try:
        return Parameters.model_validate(raw)
    except ValidationError as error:
        raise ParametersError("parameters", _explain(error)) from None


def _explain(error: ValidationError) -> Iterator[str]:
    for fault in error.errors(include_url=False):
        path = [part for part in fault["loc"] if part != "function-before"]
        name = ".".join(str(part) for part in path)
        if fault["type"] == "extra_forbidden":
            known = _fields_at(path[:-1])
            close = difflib.get_close_matches(str(path[-1]), known, n=1, cutoff=0.5)
            hint = f"did you mean '{close[0]}'?" if close else f"known here: {', '.join(sorted(known))}"
            yield f"{name}: unknown parameter; {hint}"
        elif fault["type"] == "missing":
            yield f"{name}: missing; give it in conf/<env>/parameters*.yml"
        elif fault["type"] == "value_error":
            yield f"{name}: {fault['ctx']['error']}" if name else str(fault["ctx"]["error"])
        else:
            reason = fault["msg"][0].lower() + fault["msg"][1:]
            yield f"{name} = {fault['input']!r}: {reason}"


def _fields_at(path: list[int | str]) -> list[str]:
    """Names of the fields of the block at a path (positions in tuples are skipped)."""
    block: Any = Parameters
    for part in path:
        if isinstance(part, int):
            continue
        block = _block_of(block.model_fields[part].annotation)
    return list(block.model_fields)


def _block_of(annotation: Any) -> Any:
    """The block class inside an annotation such as ``tuple[Annotated[Block, ...], ...]``."""
    if isinstance(annotation, type) and issubclass(annotation, Block):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _block_of(argument)
        if found is not None:
            return found
    return None
