"""Templates, filters and drawings that both pages use."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from churn.retention.wording import number_text
from churn.tables import humanize

NOTHING = "\N{EN DASH}"


@cache
def page_environment() -> Environment:
    """Return the template environment of the pages, with its filters."""
    # Autoescape every template: select_autoescape decides by the file name, which ends in .j2.
    environment = Environment(
        loader=PackageLoader("churn.reporting", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        {
            "percent": percent,
            "count": count,
            "decimal": decimal,
            "of_hundred": of_hundred,
            "human": humanize,
            "decimal_amount": decimal_amount,
            "plain_number": number_text,
            "amount": amount,
        }
    )
    return environment


def percent(share: float | None, digits: int = 1) -> str:
    """Format a share from 0 to 1 as ``12.3%``; a dash for None."""
    return NOTHING if share is None else f"{100 * share:.{digits}f}%"


def count(number: float | None) -> str:
    """Format a whole number as ``30,000``; a dash for None."""
    return NOTHING if number is None else f"{number:,.0f}"


def decimal(number: float | None, digits: int = 2) -> str:
    """Format a number as ``0.31``; a dash for None."""
    return NOTHING if number is None else f"{number:.{digits}f}"


def decimal_amount(number: float) -> str:
    """Format an amount of money as ``1,234.50``."""
    return f"{number:,.2f}"


def of_hundred(share: float | None) -> str:
    """Format a share from 0 to 1 as a number out of a hundred; a dash for None."""
    return NOTHING if share is None else f"{100 * share:.0f}"


def amount(money: float | None, currency: str | None = None, digits: int = 0) -> str:
    """Format an amount of money as ``1,234 EUR``, without a currency if there is none; a dash for None."""
    if money is None:
        return NOTHING
    return f"{money:z,.{digits}f}{f' {currency}' if currency else ''}"


def calibration_drawing(points: Sequence[Mapping[str, Any]] | None) -> dict[str, Any] | None:
    """Return the points in a drawing of 100 by 100, whose axes are from 0 to ``top``; None without points."""
    if not points:
        return None
    highest = max(max(point["predicted"], point["observed"]) for point in points)
    top = next(step / 10 for step in (1, 2, 4, 6, 8, 10) if highest <= step / 10)
    return {
        "top": top,
        "points": [
            {**point, "x": round(100 * point["predicted"] / top, 2), "y": round(100 - 100 * point["observed"] / top, 2)}
            for point in points
        ],
    }


def cell_text(value: Any) -> str:
    """Format a value for a cell: text unchanged, a dash for None and empty text, anything else as JSON."""
    if value is None or value == "":
        return NOTHING
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
