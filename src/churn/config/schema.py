"""The schema of the account table."""

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from churn.config.blocks import Block
from churn.config.published import LIST_COLUMNS, SCORE_COLUMNS, is_published
from churn.config.reading import FileFormat

# Spellings of a missing value in a numeric column. In a text column only a blank cell is missing: NA is also Namibia.
MISSING_NUMBERS = ("", "NA", "N/A", "#N/A", "NaN", "nan", "NULL", "null", "None")
BLANK = ("",)


class _GrownBlock(Block):
    """A block that got further fields: these are dumped only if they are set.

    Models and fingerprints that earlier versions stored so keep their bytes.
    """

    first_fields: ClassVar[frozenset[str]]

    @model_serializer(mode="wrap")
    def _without_later_defaults(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = type(self).model_fields
        return {
            name: value
            for name, value in dump(self).items()
            if name in self.first_fields or getattr(self, name) != fields[name].get_default(call_default_factory=True)
        }


def _text(value: Any) -> str:
    # YAML reads a bare null, as in a list of spellings, as None.
    return "null" if value is None else str(value)


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(map(_text, value)) if isinstance(value, list | tuple) else (_text(value),)


def _text_or_texts(value: Any) -> str | tuple[str, ...]:
    return _texts(value) if isinstance(value, list | tuple) else _text(value)


def _spellings(value: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*BLANK, *_texts(value)]))


Texts = Annotated[tuple[str, ...], BeforeValidator(_texts)]
TextOrTexts = Annotated[str | tuple[str, ...], BeforeValidator(_text_or_texts)]
Spellings = Annotated[tuple[str, ...], BeforeValidator(_spellings)]


class Label(_GrownBlock):
    """The column with the known outcome of each account, and the meaning of its values.

    Case and surrounding blanks are ignored; ``true`` and ``1`` are the same value, and so are ``false`` and ``0``.
    """

    first_fields = frozenset({"column", "positive"})

    column: str = Field(description="Name of the label column.")
    positive: TextOrTexts = Field(
        default="True",
        description="Value or values that mean churned; case is ignored, so `True` also matches `true`.",
    )
    negative: TextOrTexts | None = Field(
        default=None,
        description="Value or values that mean stayed. If empty, training takes the only other value, and outcomes take the "
        "one that training took, or the usual opposite of `positive`, such as `no` of `yes`.",
    )
    unknown: Texts = Field(
        default=(),
        description="Values that mean not known yet. Such rows are not trained on; as outcomes they are not known. "
        'A blank cell is one of them in outcomes; add `""` to leave such rows out of training too.',
    )
    drop: Texts = Field(
        default=(),
        description="Values of rows that belong to neither class, for example new customers. Such rows are left out of "
        "training and outcomes, and counted in the log.",
    )

    @property
    def positives(self) -> tuple[str, ...]:
        """Values that mean churned, as written."""
        return _texts(self.positive)

    @property
    def negatives(self) -> tuple[str, ...] | None:
        """Values that mean stayed, as written; None if they are not given."""
        return None if self.negative is None else _texts(self.negative)

    @staticmethod
    def key(text: str) -> str:
        """Return the form of a label in which equal labels are the same text."""
        lowered = text.strip().lower()
        return {"true": "1", "false": "0"}.get(lowered, lowered)

    @model_validator(mode="after")
    def _values_have_one_meaning(self) -> Self:
        meanings: dict[str, Iterable[str]] = {
            "positive": self.positives,
            "negative": self.negatives or (),
            "unknown": self.unknown,
            "drop": self.drop,
        }
        for name, given in (("positive", self.positives), ("negative", self.negatives)):
            if given is not None and not (given and all(map(self.key, given))):
                raise ValueError(f"{name} needs a value that is not blank, or several")
        known: dict[str, str] = {}
        for name, values in meanings.items():
            for value in values:
                other = known.setdefault(self.key(value), name)
                if other != name:
                    raise ValueError(f"the value {value!r} is in {other} and in {name}; a label value has one meaning")
        return self


class NumericColumn(Block):
    """A numeric column and the allowed range of its values."""

    column: str = Field(description="Name of the column.")
    minimum: float | None = Field(default=None, description="Smallest allowed value, in the column's unit.")
    maximum: float | None = Field(default=None, description="Largest allowed value, in the column's unit.")
    integer: bool = Field(default=False, description="Whether only whole numbers are allowed.")

    @model_validator(mode="after")
    def _range_is_not_empty(self) -> Self:
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(f"minimum {self.minimum} is above maximum {self.maximum}")
        return self


def _named(value: Any) -> Any:
    return {"column": value} if isinstance(value, str) else value


class DateColumn(Block):
    """A column with a date, from which the time up to the date of the snapshot becomes a numeric feature."""

    column: str = Field(description="Name of the column.")
    unit: Literal["months", "days"] = Field(
        default="months",
        description="Unit of the feature, `months_since_<column>` or `days_since_<column>`. A month has 30.4375 days, and months "
        "have one decimal.",
    )
    order: Literal["day", "month"] | None = Field(
        default=None,
        description="What comes first in dates such as `03/04/2024`. Empty: a date that has two meanings is a fault.",
    )
    future: bool = Field(
        default=False,
        description="Whether dates may be after the date of the snapshot, such as the end of a contract; the feature is then "
        "negative. Otherwise such a date is a fault.",
    )

    @property
    def feature(self) -> str:
        """Name of the numeric column that the canonical table has in place of the date."""
        return f"{self.unit}_since_{self.column}"


def _date_or_name(value: Any) -> Any:
    """Return a date that is written as text as a date; any other text is the name of a column."""
    if isinstance(value, str):
        try:
            return date.fromisoformat(value)
        except ValueError:
            return value
    return value


class NotAbove(Block):
    """A rule between two numeric columns."""

    column: str = Field(description="Numeric column whose values must not be above those of `limit`.")
    limit: str = Field(description="Numeric column that is the limit.")


class AccountSchema(_GrownBlock):
    """The schema of the account table. Another account table needs another schema."""

    first_fields = frozenset({"id", "label", "numeric", "categorical", "left_out", "not_above", "strict"})

    id: str = Field(min_length=1, description="Column that identifies an account: unique, never empty, read as text.")
    label: Label = Field(description="The label column and the meaning of its values.")
    numeric: tuple[Annotated[NumericColumn, BeforeValidator(_named)], ...] = Field(
        default=(), description="Numeric columns: a name, or a name with its range."
    )
    categorical: tuple[str, ...] = Field(default=(), description="Categorical columns, read as text.")
    dates: tuple[Annotated[DateColumn, BeforeValidator(_named)], ...] = Field(
        default=(), description="Date columns: a name, or a name with unit and order. The time since each is a feature."
    )
    as_of: Annotated[date | str | None, BeforeValidator(_date_or_name)] = Field(
        default=None,
        description="Date of the snapshot, up to which the time since each date is counted: a date (YYYY-MM-DD), or a column "
        "with a date for each row. Scoring uses `inference.as_of` instead of a date, if that is set.",
    )
    left_out: tuple[str, ...] = Field(
        default=(), description="Columns that the model does not use, for example free text."
    )
    carry: tuple[str, ...] = Field(
        default=(),
        description="Columns carried into the retention list as they are, for example name, owner and e-mail; the model does "
        "not use them.",
    )
    not_above: tuple[NotAbove, ...] = Field(
        default=(), description="Pairs of numeric columns of which the first must not be above the second."
    )
    strict: bool = Field(
        default=False,
        description="Whether to refuse a column that the schema does not name; otherwise it is reported and ignored.",
    )
    missing: Spellings = Field(
        default=MISSING_NUMBERS,
        description="Values of numeric columns that mean missing, text or numbers such as `-999`; case is ignored. "
        "A blank cell is always missing.",
    )
    missing_text: Spellings = Field(
        default=BLANK,
        description="Values of categorical columns and of the label that mean missing; case is ignored. A blank cell is "
        "always missing.",
    )
    format: FileFormat = Field(default=FileFormat(), description="The format of CSV files.")

    @property
    def numeric_names(self) -> tuple[str, ...]:
        """Names of the numeric columns of the canonical table, in declared order; those of the time since dates come last."""
        return (*(item.column for item in self.numeric), *(item.feature for item in self.dates))

    @property
    def source_columns(self) -> tuple[str, ...]:
        """Columns of a file from which the canonical table without its label is made."""
        as_of = (self.as_of,) if isinstance(self.as_of, str) else ()
        dates = dict.fromkeys([*(item.column for item in self.dates), *as_of])
        return (self.id, *(item.column for item in self.numeric), *self.categorical, *dates)

    @property
    def known_columns(self) -> frozenset[str]:
        """All columns of a file that the schema names."""
        return frozenset({*self.source_columns, self.label.column, *self.left_out, *self.carry})

    def counted_to(self, as_of: date | None) -> Self:
        """Return the schema with another date of the snapshot, unless there is none or a column has it."""
        if as_of is None or not isinstance(self.as_of, date):
            return self
        return self.model_copy(update={"as_of": as_of})

    @property
    def text_columns(self) -> tuple[str, ...]:
        """Columns that are always read as text: id, label, categorical and carried columns."""
        return (self.id, self.label.column, *self.categorical, *self.carry)

    @property
    def for_model(self) -> Self:
        """The schema that a model is stored with: other columns to carry do not make another model."""
        if not self.carry:
            return self
        # A strict schema names each column that a table may have.
        left_out = (*self.left_out, *self.carry) if self.strict else self.left_out
        return self.model_copy(update={"carry": (), "left_out": left_out})

    def taking_for_stayed(self, labels: Sequence[str]) -> Self:
        """Return the schema with these labels as `Label.negative`, unless that is set or there are none."""
        if self.label.negative is not None or not labels:
            return self
        return self.model_copy(update={"label": self.label.model_copy(update={"negative": tuple(labels)})})

    @model_validator(mode="after")
    def _roles_do_not_overlap(self) -> Self:
        if not self.numeric and not self.categorical and not self.dates:
            raise ValueError("name at least one numeric or categorical column")
        named = [*self.source_columns, self.label.column, *self.numeric_names[len(self.numeric) :]]
        named += [*self.left_out, *self.carry]
        twice = sorted({name for name in named if named.count(name) > 1})
        if twice:
            raise ValueError(f"a column has one role only, but these are named more than once: {', '.join(twice)}")
        unknown = sorted(
            {name for rule in self.not_above for name in (rule.column, rule.limit)} - set(self.numeric_names)
        )
        if unknown:
            raise ValueError(f"not_above names columns that are not numeric columns: {', '.join(unknown)}")
        if self.dates and self.as_of is None:
            raise ValueError("dates need as_of: the date of the snapshot (YYYY-MM-DD), or a column that has it")
        if self.as_of in {item.column for item in self.dates}:
            raise ValueError(f"as_of is {self.as_of}, which dates names too; a date has no time since itself")
        return self

    @model_validator(mode="after")
    def _own_columns_are_not_published_ones(self) -> Self:
        for role, name in (("the id", self.id), *(("a carried column", name) for name in self.carry)):
            if is_published(name):
                names = ", ".join(dict.fromkeys([*SCORE_COLUMNS, *LIST_COLUMNS]))
                raise ValueError(
                    f"{role} cannot be called '{name}': the published tables have a column of that name beside the id. "
                    f"Rename the column in the table; names that are taken: {names}, reason_1, reason_1_code, ..."
                )
        return self
