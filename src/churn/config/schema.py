"""The schema of the account table."""

from typing import Annotated, Any, Self

from pydantic import (
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from churn.config.blocks import Block
from churn.config.reading import FileFormat


class Label(Block):
    """The column with the known outcome of each account."""

    column: str = Field(description="Name of the label column.")
    positive: Annotated[str, BeforeValidator(lambda value: str(value))] = Field(
        default="True",
        description="Value that means churned; case is ignored, so `True` also matches `true`.",
    )


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


class NotAbove(Block):
    """A rule between two numeric columns."""

    column: str = Field(description="Numeric column whose values must not be above those of `limit`.")
    limit: str = Field(description="Numeric column that is the limit.")


class AccountSchema(Block):
    """The schema of the account table. Another account table needs another schema."""

    id: str = Field(description="Column that identifies an account: unique, never empty, read as text.")
    label: Label = Field(description="The label column and its positive value.")
    numeric: tuple[Annotated[NumericColumn, BeforeValidator(_named)], ...] = Field(
        default=(), description="Numeric columns: a name, or a name with its range."
    )
    categorical: tuple[str, ...] = Field(default=(), description="Categorical columns, read as text.")
    left_out: tuple[str, ...] = Field(
        default=(), description="Columns that the model does not use, for example dates or free text."
    )
    not_above: tuple[NotAbove, ...] = Field(
        default=(), description="Pairs of numeric columns of which the first must not be above the second."
    )
    strict: bool = Field(
        default=False,
        description="Whether to refuse a column that the schema does not name; otherwise it is reported and ignored.",
    )
    format: FileFormat = Field(default=FileFormat(), description="The format of CSV files.")

    @property
    def numeric_names(self) -> tuple[str, ...]:
        """Names of the numeric columns, in declared order."""
        return tuple(item.column for item in self.numeric)

    @property
    def text_columns(self) -> tuple[str, ...]:
        """Columns that are always read as text: id, label and categorical columns."""
        return (self.id, self.label.column, *self.categorical)

    @model_serializer(mode="wrap")
    def _without_default_format(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Models store the schema: those of files whose format is detected stay the same, byte for byte.
        content: dict[str, Any] = serialise(self)
        return {name: value for name, value in content.items() if name != "format" or self.format != FileFormat()}

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
