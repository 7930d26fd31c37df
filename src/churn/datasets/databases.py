"""Read a table or a query from a database that SQLAlchemy knows."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from churn.config.secrets import REDACTION
from churn.config.source import Source
from churn.errors import ChurnError

# Rows that are fetched at once.
CHUNK = 50_000


def tables_of(address: str) -> list[str]:
    """Return the names of the tables and views of a database, sorted; of its default schema, if it has several.

    Args:
        address: Its connection URL.

    Raises:
        ChurnError: If the driver is not installed or the database cannot be reached; without passwords.
    """
    import sqlalchemy as sql

    with _connected(Source(path=address, query="-")) as connection:
        found = sql.inspect(connection)
        return sorted({*found.get_table_names(), *found.get_view_names()})


def only_table(address: str) -> str:
    """Return the name of the table of a database that has only one.

    Raises:
        ChurnError: See `tables_of`; or if it has none or several, which it names.
    """
    names = tables_of(address)
    if len(names) != 1:
        shown = Source(path=address, query="-").shown
        found = f"it has {', '.join(names)}" if names else "its default schema has none"
        raise ChurnError(f"{shown}: name the table with --table, or write a --query; {found}")
    return names[0]


def read_database(source: Source) -> Iterator[pd.DataFrame]:
    """Yield the rows of a table or query in chunks, at least one, in the order of the database.

    Raises:
        ChurnError: If the driver is not installed, the database cannot be reached, or it refuses the query; without passwords.
    """
    import sqlalchemy as sql

    with _connected(source) as connection:
        if source.query is not None:
            statement: Any = sql.text(source.query)
        else:
            schema, _, name = (source.table or "").rpartition(".")
            statement = sql.select(sql.text("*")).select_from(sql.table(name, schema=schema or None))
        result = connection.execution_options(stream_results=True).execute(statement)
        if not result.returns_rows:
            raise ChurnError(f"{source.shown}: the query returns no rows; write a SELECT")
        names = [str(name) for name in result.keys()]  # noqa: SIM118, no mapping
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ChurnError(
                f"{source.shown}: columns that occur more than once: {', '.join(twice)}; name each of them differently with AS"
            )
        empty = True
        while rows := result.fetchmany(CHUNK):
            empty = False
            yield _frame([tuple(row) for row in rows], names)
        if empty:
            yield _frame([], names)


def _frame(rows: list[tuple[Any, ...]], names: list[str]) -> pd.DataFrame:
    columns = zip(*rows, strict=True) if rows else [[] for _ in names]
    made = {name: pd.Series(list(cells), dtype=object) for name, cells in zip(names, columns, strict=True)}
    return pd.DataFrame(made).convert_dtypes()


@contextmanager
def _connected(source: Source) -> Iterator[Any]:
    import sqlalchemy as sql
    from sqlalchemy.exc import NoSuchModuleError, SQLAlchemyError

    try:
        engine = sql.create_engine(source.path)
        # The driver would make an empty database of the file.
        file = engine.url.database if engine.url.get_backend_name() in ("sqlite", "duckdb") else None
        if file and file != ":memory:" and "mode=memory" not in file and not Path(file.removeprefix("file:")).exists():
            raise ChurnError(
                f"{source.shown}: there is no file {file}; a path that begins with / has four slashes in the URL"
            )
        with engine.connect() as connection:
            yield connection
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        raise ChurnError(
            f"{source.shown}: the driver of this database is not installed ({error}); install it into the environment, "
            "for example psycopg[binary] for PostgreSQL"
        ) from error
    except SQLAlchemyError as error:
        first = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        REDACTION.learn({}, source.path)
        raise ChurnError(REDACTION.text(f"{source.shown}: {first}")) from error
