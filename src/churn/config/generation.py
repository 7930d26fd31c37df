"""Parameters of the account tables that are simulated or staged."""

from typing import Literal, Self

from pydantic import Field, model_validator

from churn.config.blocks import Block, OpenShare, Seed, Share


class Intervention(Block):
    """Simulated calls with known effects, so that what the campaign report says can be compared with the truth."""

    enabled: bool = Field(
        default=False, description="Whether the oracle says what a call would change for each account."
    )
    persuadable: Share = Field(default=0.4, description="Share of accounts that a conversation keeps more often.")
    lost: Share = Field(default=0.25, description="Share of accounts that leave whatever is said.")
    do_not_disturb: Share = Field(default=0.1, description="Share of accounts that a conversation drives away.")
    strength: Share = Field(
        default=0.6, description="By how much a conversation lowers the risk of a persuadable account."
    )
    harm: Share = Field(
        default=0.15, description="Chance with which a conversation drives a do-not-disturb account away."
    )
    heterogeneity: float = Field(
        default=1.0,
        ge=0,
        le=3,
        description="How far an account's columns tell its kind; 0: not at all, effects are alike.",
    )
    worked: Share = Field(default=0.95, description="Share of the list that is worked off.")
    reached: Share = Field(default=0.7, description="Share of the calls that reach the customer.")
    logged: Share = Field(default=0.9, description="Share of the calls that are written down.")
    leaked: Share = Field(
        default=0.01, description="Share of the accounts that were kept back and are called all the same."
    )
    known: Share = Field(default=1.0, description="Share of the outcomes that are known.")
    delay_days: float = Field(default=7.0, ge=0, description="Mean days until an account is called.")
    days: int = Field(default=30, ge=1, description="Days after which the campaign is looked at.")
    seed: Seed = Field(default=7, description="Seed of kinds, calls and outcomes.")

    @model_validator(mode="after")
    def _kinds_are_shares(self) -> Self:
        total = self.persuadable + self.lost + self.do_not_disturb
        if total > 1:
            raise ValueError(
                f"persuadable, lost and do_not_disturb add up to {total:g}; the rest is sure, so at most 1"
            )
        return self


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
    intervention: Intervention = Field(default=Intervention(), description="Simulated calls (`realistic` only).")

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
