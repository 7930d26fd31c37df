"""Parameters of the group that is not called, of the log of contacts, and of whom not to contact."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from churn.config.blocks import Block, OpenShare, Seed

Name = Annotated[str, Field(min_length=1)]

# What a word of the log of contacts may mean; each is a field of `Contacts` with its words.
MEANINGS = ("reached", "accepted", "not_reached", "do_not_contact")


def plain_word(text: str) -> str:
    """Return a word of the log in lower case, with spaces for underscores, and single ones."""
    return " ".join(text.lower().replace("_", " ").split())


class EffectModel(Block):
    """The second model: how much a call changes the churn of an account."""

    contacts: int = Field(
        default=10_000,
        ge=500,
        description="Called accounts with a known outcome from which on the effect model is fitted and tried.",
    )
    wrong_switch_rate: OpenShare = Field(
        default=0.05,
        description="Largest probability that the order by effect is taken although it is no better than the order by risk, "
        "all trials together.",
    )
    folds: int = Field(
        default=5, ge=2, le=20, description="Folds; an account is judged by models that have not seen it."
    )
    random_state: Seed = Field(default=42, description="Seed of the folds and of the trees.")


class Experiment(Block):
    """A random part of the accounts that would be called is not called, so that the effect of the calls can be measured."""

    holdout: float = Field(
        default=0.0,
        ge=0.0,
        le=0.5,
        description="Share of the accounts that would be called that is kept back, at random; 0: none, no experiment.",
    )
    campaign: Name | None = Field(
        default=None,
        max_length=100,
        description="Name of the campaign. An account is kept back for all of it. Empty: the month of the snapshot (2026-06).",
    )
    salt: Seed = Field(
        default=42, description="Key of the draw; it need not be secret. Another one draws another group."
    )
    least_power: OpenShare = Field(
        default=0.5,
        description="Power at the assumed save rate below which the group that is kept back is too small.",
    )
    too_small: Literal["warn", "refuse"] = Field(
        default="warn",
        description="`warn`: a group that is too small is named in the summary; `refuse`: it ends the run.",
    )
    confidence: OpenShare = Field(default=0.95, description="Confidence of all intervals of the campaign report.")
    horizon: int = Field(
        default=5_000,
        ge=100,
        description="Number of known outcomes at which the always-valid interval is narrowest; any choice is valid if it is "
        "made before the first look.",
    )
    segments: tuple[str, ...] = Field(
        default=(), description="Categorical columns for whose values the effect is shown apart."
    )
    outcomes_of: Name | None = Field(
        default=None,
        description="Campaign that the table of outcomes belongs to; empty: for each account, the last campaign it was in.",
    )
    use: bool = Field(
        default=False,
        description="Whether the measured save rate, shrunk to the assumed one, replaces `profit.save_rate`, and the order by "
        "effect that by risk once it has proved better.",
    )
    effects: EffectModel = Field(default=EffectModel(), description="The model of the effect of a call.")


class Contacts(Block):
    """Columns and words of the log of contacts, `data-staging/contacts.csv`. Case and spaces around a word do not matter."""

    account: Name | None = Field(default=None, description="Column with the id of the account; empty: `accounts.id`.")
    campaign: Name = Field(
        default="campaign",
        description="Column with the campaign; an empty cell, or no such column: the last campaign that the account was in.",
    )
    at: Name = Field(
        default="contacted_at", description="Column with the date of the contact (YYYY-MM-DD, perhaps a time)."
    )
    result: Name = Field(default="result", description="Column with what came of the contact.")
    reached: tuple[str, ...] = Field(
        default=("reached", "refused", "declined", "thinking", "talked"),
        description="Words for a contact that reached the customer, without a taken offer.",
    )
    accepted: tuple[str, ...] = Field(
        default=("accepted", "accepted offer", "offer taken"), description="Words for a customer who took the offer."
    )
    not_reached: tuple[str, ...] = Field(
        default=("not reached", "no answer", "voicemail", "busy", "wrong number", "left message"),
        description="Words for an attempt that did not reach the customer.",
    )
    do_not_contact: tuple[str, ...] = Field(
        default=("do not contact", "do not call", "opted out", "unsubscribed"),
        description="Words for a customer who was reached and does not want to be contacted again.",
    )

    @model_validator(mode="after")
    def _one_meaning_a_word(self) -> Self:
        meanings: dict[str, str] = {}
        for name in MEANINGS:
            for word in getattr(self, name):
                key = plain_word(word)
                if meanings.setdefault(key, name) != name:
                    raise ValueError(f"{word!r} is in {meanings[key]} and in {name}; a word has one meaning")
        return self


class Policy(Block):
    """Whom not to contact, whatever the contact would bring."""

    days_between: int = Field(
        default=0,
        ge=0,
        le=3_650,
        description="Days after a contact during which an account is not contacted again; 0: none.",
    )
    do_not_contact: Name | None = Field(
        default=None,
        description="Categorical or carried column whose values `yes`, `true`, `1`, `y`, `ja` and `x` mean that the account "
        "must not be contacted. Accounts that said so in a contact are never contacted again.",
    )
