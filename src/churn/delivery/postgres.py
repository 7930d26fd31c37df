"""A table of PostgreSQL: batches go by COPY into a temporary table, and from there by one statement into the table."""

import io
from typing import TYPE_CHECKING, Any, cast

import psycopg

from churn.delivery.content import Batch, Held
from churn.delivery.database_session import DatabaseSession

if TYPE_CHECKING:
    import sqlalchemy as sa

ERROR = psycopg.Error
# No wait is endless: neither that for a connection nor that for a server that has gone away.
OPTIONS: dict[str, Any] = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
    "options": "-c lock_timeout=60000 -c idle_in_transaction_session_timeout=600000",
}
_BATCH = "churn_batch"
# Columns of the temporary table that the target does not have.
_ID, _CONTENT, _SCORE = "(id)", "(content)", "(score)"


class PostgresSession(DatabaseSession):
    """A delivery to a table of PostgreSQL."""

    def _refusals(self) -> tuple[type[Exception], ...]:
        return psycopg.DataError, psycopg.IntegrityError

    @property
    def _raw(self) -> "psycopg.Connection[Any]":
        connection = self._connection.connection.driver_connection
        return cast("psycopg.Connection[Any]", connection)

    def _quoted(self, name: str) -> str:
        return str(self._connection.dialect.identifier_preparer.quote_identifier(name))

    def _named(self, table: "sa.Table") -> str:
        return str(self._connection.dialect.identifier_preparer.format_table(table))

    def _write(self, batch: Batch) -> None:
        names = [field.name for field in self._fields.all]
        listed = ", ".join(map(self._quoted, names))
        account, content, score = (self._quoted(name) for name in (_ID, _CONTENT, _SCORE))
        with self._raw.cursor() as cursor:
            # With the types of the table, which converts what it is given as in any other statement.
            cursor.execute(
                f"CREATE TEMP TABLE IF NOT EXISTS {_BATCH} ON COMMIT DELETE ROWS AS SELECT {listed}, "  # noqa: S608
                f"''::text AS {account}, 0::bigint AS {content}, 0::float8 AS {score} "
                f"FROM {self._named(self._table)} WITH NO DATA"
            )
            with cursor.copy(f"COPY {_BATCH} FROM STDIN (FORMAT csv)") as copy:
                copy.write(_as_csv(batch))
            cursor.execute(
                self._merge(self._table, self._fields.id.name, [(name, self._quoted(name)) for name in names])
            )
            ledger = [("id", account), ("content", content), ("score", score)]
            cursor.execute(self._merge(self._ledger, "id", ledger))

    def _merge(self, table: "sa.Table", key: str, columns: list[tuple[str, str]]) -> str:
        """Return the statement that inserts the batch into a table, or updates it.

        Args:
            table: The table.
            key: Column of the id.
            columns: Name of each column of the table, and its quoted name in the temporary table.
        """
        names = [name for name, _ in columns]
        changes = ", ".join(f"{self._quoted(name)} = excluded.{self._quoted(name)}" for name in names if name != key)
        return (
            f"INSERT INTO {self._named(table)} ({', '.join(map(self._quoted, names))}) "  # noqa: S608
            f"SELECT {', '.join(source for _, source in columns)} FROM {_BATCH} "
            f"ON CONFLICT ({self._quoted(key)}) " + (f"DO UPDATE SET {changes}" if changes else "DO NOTHING")
        )

    def _from_ledger(self) -> Held:
        import pyarrow as pa
        from pyarrow import csv

        buffer = io.BytesIO()
        asked = f"COPY (SELECT id, content, score FROM {self._named(self._ledger)}) TO STDOUT (FORMAT csv)"  # noqa: S608
        with (
            self._raw.cursor() as cursor,
            cursor.copy(asked) as copy,
        ):
            for part in copy:
                buffer.write(part)
        if not buffer.tell():
            return Held.nothing()
        buffer.seek(0)
        kinds = {"id": pa.string(), "content": pa.int64(), "score": pa.float64()}
        table = csv.read_csv(
            buffer,
            csv.ReadOptions(column_names=list(kinds)),
            csv.ParseOptions(newlines_in_values=True),
            csv.ConvertOptions(column_types=kinds, null_values=[""], strings_can_be_null=False),
        )
        score = table["score"].to_numpy(zero_copy_only=False)
        return Held.of(table["id"], table["content"].to_numpy(), score)


def _as_csv(batch: Batch) -> memoryview:
    """Return a batch in the form of COPY: missing values without quotes, texts in quotes."""
    import pyarrow as pa
    from pyarrow import csv

    rows: pa.Table = batch.rows
    score = pa.array(batch.held.score, from_pandas=True)  # what is no number is missing
    for name, values in ((_ID, batch.held.ids), (_CONTENT, pa.array(batch.held.content)), (_SCORE, score)):
        rows = rows.append_column(name, values)
    sink = pa.BufferOutputStream()
    csv.write_csv(rows, sink, csv.WriteOptions(include_header=False, quoting_style="needed"))
    return memoryview(sink.getvalue())
