"""The general sentences of reasons and the words of units, by language."""

from pydantic import Field

from churn.config.blocks import Block


class Language(Block):
    """General sentences and words of a language; the defaults are English.

    Sentences have the placeholders `{name}`, `{value}` and `{typical}`, units `{number}`.
    """

    decimal: str = Field(default=".", description="Decimal mark.")
    thousands: str = Field(default=",", description="Mark between thousands; none if it is empty.")
    percent: str = Field(default="{number} %", description="A percentage.")
    currency: str = Field(default="{number} {currency}", description="An amount of money.")
    one_day: str = Field(default="one day", description="One day.")
    days: str = Field(default="{number} days", description="Several days.")
    one_month: str = Field(default="one month", description="One month.")
    months: str = Field(default="{number} months", description="Several months.")
    one_year: str = Field(default="one year", description="One year.")
    years: str = Field(default="{number} years", description="Several years.")
    high: str = Field(
        default="{name} is high: {value}, typical {typical}", description="A number above the typical one."
    )
    low: str = Field(default="{name} is low: {value}, typical {typical}", description="A number below the typical one.")
    rose: str = Field(default="{name} rose {value}", description="A change above 0.")
    fell: str = Field(default="{name} fell {value}", description="A change below 0.")
    category: str = Field(default="{name} is {value}, typical {typical}", description="A category.")
    usual: str = Field(default="{name} is {value}, as is typical", description="The typical value.")
    missing: str = Field(default="{name} is not known", description="A missing value.")
    unknown: str = Field(default="unknown", description="Value of a missing value in own sentences.")


GERMAN = Language(
    decimal=",",
    thousands=".",
    one_day="einem Tag",
    days="{number} Tagen",
    one_month="einem Monat",
    months="{number} Monaten",
    one_year="einem Jahr",
    years="{number} Jahren",
    high="{name} ist hoch: {value}, üblich {typical}",
    low="{name} ist niedrig: {value}, üblich {typical}",
    rose="{name}: um {value} gestiegen",
    fell="{name}: um {value} gefallen",
    category="{name} ist {value}, üblich {typical}",
    usual="{name} ist {value}, wie üblich",
    missing="{name} ist nicht bekannt",
    unknown="unbekannt",
)

LANGUAGES = {"en": Language(), "de": GERMAN}
