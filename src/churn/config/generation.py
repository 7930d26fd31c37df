"""Parameters of the account tables that are simulated or staged."""

from typing import Literal, Self

from pydantic import Field, model_validator

from churn.config.blocks import Block, OpenShare, Seed, Share


class Simulation(Block):
    """The simulated account tables, used if the environment names no account table."""

    signal: Literal["realistic", "none"] = Field(
        default="realistic",
        description="`realistic`: churn follows the documented probability model; `none`: outcomes are random.",
    )
    training_rows: int = Field(default=30_000, ge=1, le=100_000_000, description="Number of accounts to train on.")
    scoring_rows: int = Field(default=30_000, ge=1, le=100_000_000, description="Number of accounts to score.")
    training_seed: Seed = Field(default=31_459, description="Seed of the training snapshot.")
    scoring_seed: Seed = Field(default=42, description="Seed of the scoring snapshot.")
    base_rate: OpenShare = Field(
        default=0.12, description="Average share of accounts that churn (`realistic`; for `none` it is 0.5)."
    )
    missing_share: float = Field(
        default=0.04,
        ge=0.0,
        le=0.5,
        description="Average share of missing values in the columns that can have them (`realistic` only).",
    )
    drift: Share = Field(
        default=0.0, description="Strength of the drift of the scoring snapshot: 0 none, 1 strong (`realistic` only)."
    )

    @model_validator(mode="after")
    def _snapshots_are_different(self) -> Self:
        if self.training_seed == self.scoring_seed:
            raise ValueError(
                f"training_seed and scoring_seed are both {self.training_seed}: both snapshots would be alike"
            )
        return self


class Staging(Block):
    """The split of your own account table into a training and a scoring snapshot."""

    scoring_share: OpenShare = Field(
        default=0.2, description="Share of the labelled accounts held out as the scoring snapshot."
    )
    random_state: Seed = Field(default=42, description="Seed of the hold-out.")
