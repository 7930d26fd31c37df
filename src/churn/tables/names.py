"""Names of columns for people."""

_WORDS = {"p1m": "past month", "prev": "previous", "avg": "average", "num": "number of", "pct": "percentage"}


def humanize(column: str) -> str:
    """A column's name for people: ``active_users_count`` is ``Active users``."""
    words = [_WORDS.get(word, word) for word in column.split("_") if word]
    if len(words) > 1 and words[-1] == "count":
        words.pop()
    text = " ".join(words)
    return text[:1].upper() + text[1:]
