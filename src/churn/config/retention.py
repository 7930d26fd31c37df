"""Parameters of the retention list: expected profit, decision rule and reasons."""

from collections.abc import Collection, Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, PrivateAttr, model_validator

from churn.config.blocks import Block, Share
from churn.config.languages import LANGUAGES, Language

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

    currency: str | None = Field(
        default=None,
        pattern="^[A-Z]{3}$",
        description="Currency of all amounts, shown beside them, for example `EUR`; amounts have none if it is empty.",
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
    capacity_by: str | None = Field(
        default=None,
        description="Categorical or carried column, for example the owner: `capacity` is then the number for each of its values "
        "(rule `capacity`).",
    )
    minimum_gain: float = Field(
        default=0.0,
        ge=0,
        description="Expected profit of a contact, in currency, below which an account is not acted on, whatever the rule; 0 "
        "sets no limit.",
    )
    list_length: int = Field(
        default=100_000,
        ge=1,
        description="Maximum number of accounts on the retention list, by expected profit; the scores cover all accounts.",
    )
    page_length: int = Field(
        default=500,
        ge=1,
        description="Maximum number of accounts on the page of the retention list; its workbook has all accounts to act on.",
    )


# A text for every language, or one for each, by its code.
Text = str | dict[str, str]
Unit = Literal["count", "share", "percent", "change", "currency", "months", "days", "years", "ratio"]
Case = Literal["high", "low", "rose", "fell", "category", "missing"]


class Action(Block):
    """What to do about a reason; an account gets that of its strongest reason which has one."""

    case: Case | None = Field(default=None, description="Case of the reason; any if it is empty.")
    categories: tuple[str, ...] = Field(
        default=(), description="Categories that are the reason; any if there are none."
    )
    action: Text = Field(description="The action in words, one text or one for each language.")
    cost: float | None = Field(
        default=None,
        ge=0,
        description="Cost of the action if an account takes it, in currency, in place of `profit.offer_cost`; empty for that.",
    )


class ReasonText(Block):
    """Name, unit and sentences of one column or ratio.

    `{value}` is the account's value, `{typical}` the median or most frequent value, both with their unit; a ratio also has
    `{numerator}` and `{denominator}`. A text is one for every language, or one for each: `{en: ..., de: ...}`.
    """

    column: str = Field(description="Column of the account table, or ratio of `feature_engineering.ratios`.")
    name: Text | None = Field(
        default=None,
        description="Name of the column in general sentences; made from that of the column if it is empty.",
    )
    unit: Unit | None = Field(
        default=None,
        description="How numbers are written: `count`; `share`, 0.16 as 16 %; `percent`, 16 as 16 %; `change`, -0.39 as fell "
        "39 %; `currency`, in `profit.currency`; `months`, `days`, `years`; `ratio`, with one decimal. Plain numbers if it is "
        "empty.",
    )
    high: Text | None = Field(default=None, description="Sentence if a number above the typical value raises the risk.")
    low: Text | None = Field(
        default=None, description="Sentence if a number at or below the typical value raises the risk."
    )
    rose: Text | None = Field(
        default=None, description="Sentence if a change above 0 raises the risk (unit `change`); `{value}` has no sign."
    )
    fell: Text | None = Field(
        default=None, description="Sentence if a change below 0 raises the risk (unit `change`); `{value}` has no sign."
    )
    category: Text | None = Field(default=None, description="Sentence if a category raises the risk.")
    missing: Text | None = Field(default=None, description="Sentence if a missing value raises the risk.")
    actions: tuple[Action, ...] = Field(
        default=(), description="What to do about this reason: the first action that fits is suggested, or none."
    )


class Reasons(Block):
    """The reasons of an account, their sentences, and what to do about them."""

    count: int = Field(default=3, ge=1, le=20, description="Maximum number of reasons per account.")
    minimum_probability: Share = Field(
        default=0.0, description="Probability from which an account gets reasons; they cost more time than scores."
    )
    close_to_typical: Annotated[float, Field(ge=0.0, le=0.5)] = Field(
        default=0.1,
        description="A number with at most this share of the training rows between it and the typical value is no reason.",
    )
    language: str = Field(
        default="en", pattern="^[a-z]{2,3}(-[A-Za-z0-9]+)*$", description="Language of reasons and actions: its code."
    )
    texts: tuple[ReasonText, ...] = Field(
        default=(), description="Sentences for single columns; other columns get a general sentence."
    )
    languages: dict[str, Language] = Field(
        default={},
        description="General sentences and words of further languages, or in place of those of `en` and `de`.",
    )

    @property
    def words(self) -> Language:
        """General sentences and words of the language."""
        return self.languages.get(self.language) or LANGUAGES[self.language]

    @property
    def actions(self) -> tuple[tuple[str, Action], ...]:
        """All actions, each with the column or ratio that is its reason."""
        return tuple((text.column, action) for text in self.texts for action in text.actions)

    @property
    def has_costs(self) -> bool:
        """Whether the expected profit depends on the reasons."""
        return any(action.cost is not None for _, action in self.actions)

    def text(self, given: Text | None) -> str | None:
        """Return a text in the language; None if there is none."""
        return given.get(self.language) if isinstance(given, Mapping) else given

    @model_validator(mode="after")
    def _language_is_known(self) -> Self:
        known = sorted({*LANGUAGES, *self.languages})
        if self.language not in known:
            raise ValueError(
                f"language '{self.language}' has no general sentences; describe it in reasons.languages.{self.language}, or "
                f"choose from {', '.join(known)}"
            )
        return self
