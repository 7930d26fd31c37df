"""The format of CSV files."""

import codecs
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from churn.config.blocks import Block


def _known_encoding(value: str) -> str:
    try:
        "".encode(value)  # of text, not of bytes as base64
        return codecs.lookup(value).name
    except LookupError:
        raise ValueError(f"{value!r} is not an encoding; examples: utf-8, cp1252, latin-1, utf-16") from None


def _single_character(value: Any) -> Any:
    if value in ("tab", "\\t"):
        return "\t"
    if isinstance(value, str) and (len(value) != 1 or value in '"\r\n.' or not value.isascii() or value.isalnum()):
        raise ValueError(f"{value!r} cannot separate cells; use one character such as ',', ';', '|' or 'tab'")
    return value


class FileFormat(Block):
    """How CSV files are written. What is not set is detected in each file, and logged if it is not the default."""

    delimiter: Annotated[str, BeforeValidator(_single_character)] | None = Field(
        default=None, description="Character between cells, for example `;`, or `tab`. Empty: detected."
    )
    decimal: Literal[".", ","] | None = Field(
        default=None, description="Decimal separator of numbers: `.` or `,`. Empty: detected."
    )
    thousands: Literal["", ",", ".", " ", "'"] | None = Field(
        default=None,
        description="Separator of thousands: `,`, `.`, a blank (of any width), `'`, or `''` for none. Empty: detected.",
    )
    encoding: Annotated[str, AfterValidator(_known_encoding)] | None = Field(
        default=None,
        description="Encoding of the text, for example `cp1252`. Empty: UTF-16 if the file begins so, else UTF-8, in which "
        "bytes that are not UTF-8 are read as cp1252.",
    )
    title_lines: int | None = Field(default=None, ge=0, description="Lines above the header. Empty: detected.")
    description_rows: int | None = Field(
        default=None, ge=0, description="Rows below the header that describe the columns. Empty: detected."
    )
    line_breaks: bool = Field(
        default=False,
        description="Whether quoted cells have line breaks that begin only after the first MiB of a file. Only Spark needs to "
        "know; it then reads each file in one task.",
    )

    @model_validator(mode="after")
    def _separators_differ(self) -> Self:
        if self.decimal is not None and self.decimal == self.thousands:
            raise ValueError(f"decimal and thousands are both {self.decimal!r}")
        if self.delimiter is not None and self.delimiter == self.thousands:
            raise ValueError(f"delimiter and thousands are both {self.delimiter!r}")
        return self
