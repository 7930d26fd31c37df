"""Statements that databases write in different ways."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlalchemy as sa

# Values of a list in a statement; databases allow from 1,000 on.
LISTED = 500
# Databases that take the statement of another one.
_LIKE_POSTGRESQL = ("postgresql", "duckdb", "cockroachdb", "redshift")


def in_parts(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Yield the values in lists that fit into a statement."""
    for start in range(0, len(values), LISTED):
        yield values[start : start + LISTED]


def upsert(connection: "sa.Connection", table: "sa.Table", rows: list[dict[str, Any]], key: str) -> None:
    """Insert rows, and update those whose key is there.

    Args:
        connection: A connection in a transaction.
        table: The table.
        rows: Values by column, the same columns in all rows, each key once.
        key: Column with unique values.
    """
    import sqlalchemy as sa

    if not rows:
        return
    others = [name for name in rows[0] if name != key]
    statement = _insert_or_update(connection.dialect.name, table, key, others)
    if statement is not None:
        connection.execute(statement, rows)
        return
    there: set[Any] = set()
    for part in in_parts([row[key] for row in rows]):
        there |= set(connection.scalars(sa.select(table.c[key]).where(table.c[key].in_(part))))
    old = [{f"{name}_": value for name, value in row.items()} for row in rows if row[key] in there]
    new = [row for row in rows if row[key] not in there]
    if old and others:
        values: dict[str, Any] = {name: sa.bindparam(f"{name}_") for name in others}
        connection.execute(sa.update(table).where(table.c[key] == sa.bindparam(f"{key}_")).values(values), old)
    if new:
        connection.execute(sa.insert(table), new)


def _insert_or_update(dialect: str, table: "sa.Table", key: str, others: Sequence[str]) -> Any:
    """Return the statement of a database that does both; ``None`` if it has none."""
    if dialect in ("mysql", "mariadb"):
        from sqlalchemy.dialects import mysql

        both = mysql.insert(table)
        return both.on_duplicate_key_update({name: both.inserted[name] for name in others or [key]})
    made: Any
    if dialect == "sqlite":
        from sqlalchemy.dialects import sqlite

        made = sqlite.insert(table)
    elif dialect in _LIKE_POSTGRESQL:
        from sqlalchemy.dialects import postgresql

        made = postgresql.insert(table)
    else:
        return None
    if not others:
        return made.on_conflict_do_nothing(index_elements=[key])
    return made.on_conflict_do_update(index_elements=[key], set_={name: made.excluded[name] for name in others})
