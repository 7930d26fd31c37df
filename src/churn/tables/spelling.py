"""Spell one value: the text of a Python object, its canonical spelling, and the number that it means.

`churn.tables.cells` applies these rules to columns and describes them; `text_cell` and `number_cell` to single values.
"""

import math
import re
from collections.abc import Collection
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

# Texts that may have another canonical form.
_WHOLE = r"-?(?:0|[1-9][0-9]*)\.0"
_EXPONENT = r"-?[1-9](?:\.[0-9]+)?e[+-][0-9]{1,3}"
_TIME = r"[0-9]{2}:[0-9]{2}:[0-9]{2}"
_MOMENT = rf"[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}[ T]{_TIME}(?:\.[0-9]+)?(?:Z|[+-][0-9]{{2}}:?[0-9]{{2}})?"
OTHER_SPELLING = rf"^(?:True|TRUE|False|FALSE|-0|{_WHOLE}|{_EXPONENT}|{_MOMENT}|{_TIME}\.[0-9]+)$"
_MOMENT_PARTS = re.compile(rf"([0-9-]{{10}})[ T]({_TIME})(?:\.([0-9]+))?(Z|[+-][0-9:]+)?")
# Whole numbers of larger size are written with an exponent: they exceed every integer type.
_LARGEST_WHOLE = 2.0**64
# Between these sizes, numbers that are not whole are written without an exponent.
_POSITIONAL = (1e-6, 1e16)

NUMBER = r"^[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$"
_NOT_A_NUMBER = re.compile(r"[+-]?nan(\(.*\))?")
_INFINITE = re.compile(r"([+-]?)inf(inity)?")
_OTHER = re.compile(OTHER_SPELLING)
_OTHER_BEGINS = frozenset("TF-0123456789")
_A_NUMBER = re.compile(NUMBER)


class NotOneValue(ValueError):  # noqa: N818, the fault of a cell, which its caller words
    """A cell holds no single value but a list, a record, bytes or broken text."""


class MissingNumbers(NamedTuple):
    """Values of numeric columns that mean missing: words in lower case, and numbers."""

    words: frozenset[str]
    numbers: tuple[float, ...]


def text_cell(value: Any, markers: Collection[str] = ()) -> str | None:
    """Return the canonical text of one value, None if it is missing; as `churn.tables.cells.text_of` does for a column.

    Args:
        value: Any Python object.
        markers: Canonical texts in lower case that mean missing; a blank text always does.

    Raises:
        NotOneValue: If it is not a single value.
    """
    # Nearly all are plain texts; what the others are takes a microsecond to find out.
    text: Any = value if type(value) is str and value.isascii() else object_text(value)
    if text is UNREADABLE:
        raise NotOneValue
    if text is None:
        return None
    text = text.strip()
    if text[:1] in _OTHER_BEGINS and _OTHER.fullmatch(text):
        text = canonical(text)
    if not text or (markers and _lowered(text) in markers):
        return None
    return text if type(text) is str else str(text)


def _lowered(text: str) -> str:
    # Python and Arrow differ in a few letters, such as the Greek final sigma.
    return text.lower() if text.isascii() else str(pc.utf8_lower(pa.scalar(text)).as_py())


def number_cell(value: Any, missing: MissingNumbers) -> float | None:
    """Return the number that one value means, nan if it is missing; as `churn.tables.cells.as_numbers` for a column.

    Returns:
        The number, perhaps infinite; None if the value is no number.

    Raises:
        NotOneValue: If it is not a single value.
    """
    text = object_text(value)
    if text is UNREADABLE:
        raise NotOneValue
    if text is None:
        return math.nan
    text = text.strip()
    number = float(text) if _A_NUMBER.fullmatch(text) else word_number(text.lower(), missing.words)
    return math.nan if number in missing.numbers else number


UNREADABLE: Any = object()
_SEVERAL = (list, tuple, set, frozenset, dict, bytes, bytearray, memoryview, np.ndarray)


def object_text(value: Any) -> Any:
    """Return the text of a Python object, None if it is missing, and `UNREADABLE` if it is not a single value."""
    if isinstance(value, str):
        return _unicode(str(value))
    if isinstance(value, _SEVERAL):
        return UNREADABLE
    if isinstance(value, Decimal):  # before pandas, which cannot compare a signalling one
        return None if value.is_nan() else format(value, "f") if value.is_finite() else str(value)
    if value is None or pd.isna(value):
        return None
    if isinstance(value, bool | np.bool_):
        return str(value).lower()
    if isinstance(value, np.datetime64):
        value = pd.Timestamp(value)
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, date):
        return value.isoformat()
    try:
        return _unicode(str(value))
    except ValueError:  # a whole number of thousands of digits
        return UNREADABLE


def _unicode(text: str) -> Any:
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can hold
        return UNREADABLE
    return text


def canonical(text: str) -> str:
    """Return the canonical spelling of a text that matches `OTHER_SPELLING`."""
    if text[0] in "TF":
        return text.lower()
    if ":" in text:
        return _moment(text)
    return "0" if text == "-0" else _number(text)


def _number(text: str) -> str:
    if text.endswith(".0"):
        return "0" if text == "-0.0" else text.removesuffix(".0")
    value = float(text)
    if not np.isfinite(value) or value == 0:
        return text  # beyond float64: no writer of numbers spelled it
    if value.is_integer() and abs(value) < _LARGEST_WHOLE:
        return str(int(value))
    if _POSITIONAL[0] <= abs(value) < _POSITIONAL[1]:
        return np.format_float_positional(value, trim="-")
    digits, _, power = text.partition("e")
    return f"{digits.removesuffix('.0')}e{int(power):+d}"


def _moment(text: str) -> str:
    parts = _MOMENT_PARTS.fullmatch(text)
    if parts is None:  # a time of day
        return text.rstrip("0").rstrip(".")
    day, time, fraction, zone = parts.groups()
    fraction = (fraction or "").rstrip("0")
    ending = f".{fraction}" if fraction else ""
    try:
        moment = datetime.fromisoformat(f"{day}T{time}{zone or ''}")
        moment = moment.astimezone(UTC) if zone else moment
    except (ValueError, OverflowError):
        return text  # no date, as 2024-13-45
    if zone:
        return f"{moment.replace(tzinfo=None).isoformat()}{ending}Z"
    return day if time == "00:00:00" and not fraction else f"{day}T{time}{ending}"


def word_number(text: str, missing: frozenset[str]) -> float | None:
    """Return the number that a lower-case word means, nan for missing; None if it means none."""
    if not text or text in missing or _NOT_A_NUMBER.fullmatch(text):
        return np.nan
    if text in ("true", "false"):
        return float(text == "true")
    infinite = _INFINITE.fullmatch(text)
    return None if infinite is None else -np.inf if infinite[1] == "-" else np.inf
