"""Names of columns as reports show them."""

_WORDS = {"p1m": "past month", "prev": "previous", "avg": "average", "num": "number of", "pct": "percentage"}


def humanize(column: str) -> str:
    """Return a column's name as reports show it: ``Active users`` for ``active_users_count``.

    A name without any words, such as ``_``, is returned as it is.
    """
    words = [_WORDS.get(word, word) for word in column.split("_") if word]
    if len(words) > 1 and words[-1] == "count":
        words.pop()
    text = " ".join(words) or column
    return text[:1].upper() + text[1:]
