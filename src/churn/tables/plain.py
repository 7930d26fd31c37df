"""Values as a document of JSON can hold them, and nested ones by their dotted names."""

import math
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any


def plain(value: Any) -> Any:
    """The same value in the types of JSON.

    NaN and infinity become ``None``, NumPy's numbers and arrays Python's, dates their ISO text, anything else its text.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (str, bool, int)):
        return value
    return value.isoformat() if isinstance(value, date) else str(value)


def flat(nested: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested mappings by their names, ``block.field``; an empty mapping is a value."""
    for key, value in nested.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def ranked_shares(importance: Mapping[str, float]) -> list[dict[str, Any]]:
    """Columns by their contribution, the largest first, each with its share of the sum (``None`` where that is 0)."""
    total = sum(importance.values())
    ranked = sorted(importance.items(), key=lambda item: (-item[1], item[0]))
    return [
        {"column": column, "contribution": float(value), "share": float(value / total) if total > 0 else None}
        for column, value in ranked
    ]
