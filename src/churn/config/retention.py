"""Parameters of the retention list: expected profit, decision rule and reasons."""

from collections.abc import Collection
from typing import Literal, Self

from pydantic import Field, PrivateAttr

from churn.config.blocks import Block, Share

# The numbers that every amount of money depends on. Their defaults are examples.
AMOUNTS = ("contact_cost", "offer_cost", "save_rate", "account_value")


class Profit(Block):
    """Costs and benefits of acting on an account, in one currency. The defaults are examples."""

    contact_cost: float = Field(default=5.0, ge=0, description="Cost of contacting an account, in currency.")
    offer_cost: float = Field(default=50.0, ge=0, description="Cost of the offer if an account takes it, in currency.")
    save_rate: Share = Field(default=0.3, description="Chance that the offer keeps an account that would leave.")
    save_rate_certainty: float = Field(
        default=20.0,
        gt=0,
        description="Certainty of the save rate: the sum of the parameters of its beta distribution (6 and 14 by default).",
    )
    account_value: float = Field(default=600.0, gt=0, description="Value of keeping an account, in currency.")
    value_column: str | None = Field(
        default=None,
        description="Numeric column with the value of each account; if it is missing, `account_value` applies.",
    )

    # How the save rate was measured; None for the assumed one of the parameters.
    _measured: str | None = PrivateAttr(default=None)

    @property
    def measured(self) -> bool:
        """Whether the save rate was measured in campaigns."""
        return self._measured is not None

    @property
    def save_rate_sentence(self) -> str:
        """What the save rate is and where it comes from, for example ``0.27, measured in 2 campaigns with ...``."""
        return f"{self.save_rate:.2f}, {self._measured or 'assumed'}"

    def with_save_rate(self, save_rate: float, certainty: float, measured: str) -> Self:
        """Return the same amounts with a measured save rate.

        Args:
            save_rate: Its mean.
            certainty: Sum of the parameters of its beta distribution.
            measured: How it was measured, as the end of a sentence.
        """
        changed = self.model_copy(update={"save_rate": save_rate, "save_rate_certainty": certainty})
        changed._measured = measured
        return changed

    @property
    def examples(self) -> tuple[str, ...]:
        """Names of the amounts that nobody has set, which are therefore examples; a column replaces `account_value`."""
        given = self.model_fields_set | ({"account_value"} if self.value_column else set())
        return tuple(name for name in AMOUNTS if name not in given)


def at_costs(examples: Collection[str]) -> str:
    """Return what belongs beside an amount of money that depends on example amounts; empty if it depends on none.

    Args:
        examples: Names of the example amounts, see `Profit.examples`.
    """
    if not examples:
        return ""
    if {"contact_cost", "offer_cost", "save_rate"} <= set(examples):
        return "at example costs"
    return f"at the example {', '.join(name.replace('_', ' ') for name in examples)}"


class Decision(Block):
    """The rule for which accounts to act on."""

    rule: Literal["profit", "threshold", "capacity"] = Field(
        default="profit",
        description="`profit`: accounts with a positive expected profit; `threshold`: accounts at or above "
        "`training.threshold`; `capacity`: the accounts with the highest positive expected profit.",
    )
    capacity: int = Field(default=500, ge=1, description="Maximum number of accounts to act on (rule `capacity`).")
    list_length: int = Field(
        default=100_000,
        ge=1,
        description="Maximum number of accounts on the retention list, by expected profit; the scores cover all accounts.",
    )


class ReasonText(Block):
    """Sentences about one column. `{value}` is the account's value, `{typical}` the median or most frequent value."""

    column: str = Field(description="Column of the account table.")
    high: str | None = Field(default=None, description="Sentence if a number above the typical value raises the risk.")
    low: str | None = Field(
        default=None, description="Sentence if a number at or below the typical value raises the risk."
    )
    category: str | None = Field(default=None, description="Sentence if a category raises the risk.")
    missing: str | None = Field(default=None, description="Sentence if a missing value raises the risk.")


class Reasons(Block):
    """The reasons of an account and their sentences."""

    count: int = Field(default=3, ge=1, le=20, description="Maximum number of reasons per account.")
    minimum_probability: Share = Field(
        default=0.0, description="Probability from which an account gets reasons; they cost more time than scores."
    )
    texts: tuple[ReasonText, ...] = Field(
        default=(), description="Sentences for single columns; other columns get a general sentence."
    )
