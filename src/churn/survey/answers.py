"""What a person says about a table that is looked at."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

# What a column is in the schema, and how sure that is.
Role = Literal["id", "label", "numeric", "categorical", "dates", "as_of", "carry", "left_out"]
Sure = Literal["given", "sure", "likely", "unsure"]


@dataclass(frozen=True)
class Answers:
    """What a person has said about the table; what is empty is proposed.

    Attributes:
        id: Column of the id.
        label: Column of the label.
        positive: Values of the label that mean churned.
        negative: Values that mean stayed.
        drop: Values of rows in neither class.
        unknown: Values that mean not known yet.
        roles: Columns whose role was given: dates, carry, left_out, numeric or categorical.
        orders: What comes first in the dates of a column.
        as_of: Date of the snapshot, or a column with it.
        value: Column with the value of an account.
        currency: Code of the currency.
        amounts: Amounts of ``profit`` by name.
    """

    id: str | None = None
    label: str | None = None
    positive: tuple[str, ...] = ()
    negative: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    roles: Mapping[str, Role] = field(default_factory=dict)
    orders: Mapping[str, Literal["day", "month"]] = field(default_factory=dict)
    as_of: str | None = None
    value: str | None = None
    currency: str | None = None
    amounts: Mapping[str, float] = field(default_factory=dict)
