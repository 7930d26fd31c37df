"""Parameters of what acting on an account costs and brings, whom to call and why."""

from typing import Literal

from pydantic import Field

from churn.config.blocks import Block, Share


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
