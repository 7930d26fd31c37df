"""A delivery to a table of a database. Its ledger is in the same database and changes in the same transactions.

So a delivery that is killed leaves whole batches, and the ledger is never ahead of the table or behind it. Two tables beside the
target's own: ``churn_held_<target>`` says what the table holds, ``churn_deliveries`` which delivery is the current one.
"""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from churn.config import SqlTarget
from churn.delivery.columns import Fields, schema_of
from churn.delivery.content import Batch, Held, content_of
from churn.delivery.statements import in_parts, upsert
from churn.delivery.table_checks import column_of, id_type, table_faults
from churn.delivery.target import LONGEST_WORDS, Occasion, Rejects, Session, State, TargetError
from churn.web.outgoing import plain

if TYPE_CHECKING:
    import sqlalchemy as sa

logger = logging.getLogger(__name__)

DELIVERIES, HELD = "churn_deliveries", "churn_held_"
# Rows that are read at once.
_FETCHED = 50_000


class DatabaseSession(Session):
    """A delivery to a table."""

    def __init__(self, connection: "sa.Connection", settings: SqlTarget, fields: Fields, rejects: Rejects) -> None:
        """Describe the tables; nothing is made yet."""
        import sqlalchemy as sa

        self._connection, self._settings, self._fields, self._rejects = connection, settings, fields, rejects
        self._inspector = sa.inspect(connection)
        known = {each["name"]: each for each in self._columns(settings.table)}
        self._found = bool(known)
        meta = sa.MetaData(schema=settings.namespace)
        self._table = sa.Table(
            settings.table, meta, *(column_of(field, fields, known.get(field.name)) for field in fields.all)
        )
        dialect = connection.dialect.name
        account = sa.Text(collation="C") if dialect == "postgresql" else id_type()
        self._ledger = sa.Table(
            f"{HELD}{settings.name}",
            meta,
            sa.Column("id", account, primary_key=True),
            sa.Column("content", sa.BigInteger, nullable=False),
            sa.Column("score", sa.Double),
        )
        self._deliveries = sa.Table(
            DELIVERIES,
            meta,
            sa.Column("target", sa.String(40), primary_key=True),
            *(sa.Column(name, sa.String(64)) for name in ("token", "run_id", "began_at", "ended_at")),
            sa.Column("batches", sa.BigInteger, nullable=False),
        )
        self._token = ""
        self._damaged = False
        self._began = self._has_begun()
        if self._began:
            columns = {each["name"] for each in self._columns(self._ledger.name)}
            self._damaged = not columns >= {"id", "content", "score"}
        connection.rollback()  # nothing was written; what was read may be forgotten

    def _columns(self, table: str) -> list[Any]:
        namespace = self._settings.namespace
        if not self._inspector.has_table(table, schema=namespace):
            return []
        return list(self._inspector.get_columns(table, schema=namespace))

    def _has_begun(self) -> bool:
        import sqlalchemy as sa

        if not self._columns(DELIVERIES):
            return False
        mine = sa.select(self._deliveries.c.token).where(self._deliveries.c.target == self._settings.name)
        return self._connection.execute(mine).first() is not None

    @property
    def state(self) -> State:
        """What is known of the target."""
        if not self._began:
            return "new"
        return "lost" if self._damaged and (self._fields.marker is None or not self._found) else "known"

    def faults(self) -> list[str]:
        """Return each difference between the table and its parameters."""
        if not self._found:
            return (
                [] if self._settings.create else [f"there is no table {self._settings.table}; make it, or set create"]
            )
        try:
            return table_faults(self._inspector, self._settings, self._fields)
        finally:
            self._connection.rollback()

    # --- the ledger -------------------------------------------------------------------------------------------------

    def begin(self, occasion: Occasion) -> None:
        """Make the tables that are missing, and overtake earlier deliveries."""
        import sqlalchemy as sa

        rebuilt = self.held() if self._damaged else None
        self._token = occasion.token
        with self._connection.begin():
            if self._damaged:
                self._set_aside()
            made = [self._ledger, self._deliveries, *([] if self._found else [self._table])]
            self._table.metadata.create_all(self._connection, tables=made)
            noted = {
                "token": occasion.token,
                "run_id": occasion.run.run_id,
                "began_at": occasion.at.isoformat(),
                "ended_at": None,
                "batches": 0,
            }
            mine = self._deliveries.c.target == self._settings.name
            if not self._connection.execute(sa.update(self._deliveries).where(mine).values(noted)).rowcount:
                self._connection.execute(sa.insert(self._deliveries).values(target=self._settings.name, **noted))
            if rebuilt is not None:
                upsert(self._connection, self._ledger, _ledger_rows(rebuilt), "id")
        if not self._found:
            logger.info("Made the table %s for the target %s", self._settings.table, self._settings.name)
        self._found, self._began, self._damaged = True, True, False

    def _set_aside(self) -> None:
        name = str(self._ledger.name)
        if not self._columns(name):
            logger.warning("The ledger %s was gone, and is made again from the table", name)
            return
        aside = f"{name}_{datetime.now(UTC):%Y%m%d%H%M%S}"
        quoted = self._connection.dialect.identifier_preparer
        place = f"{quoted.quote(self._settings.namespace)}." if self._settings.namespace else ""
        self._connection.exec_driver_sql(f"ALTER TABLE {place}{quoted.quote(name)} RENAME TO {quoted.quote(aside)}")
        logger.warning("The ledger %s was damaged and is now %s; it is made again from the table", name, aside)

    def held(self) -> Held:
        """Return what the table holds, by the ledger; by the table itself if the ledger is damaged."""
        if not self._began or (self._damaged and self.state == "lost"):
            return Held.nothing()
        try:
            return self._from_table() if self._damaged else self._from_ledger()
        finally:
            self._connection.rollback()

    def _from_ledger(self) -> Held:
        import sqlalchemy as sa

        ids, content, score = [], [], []
        rows = self._connection.execute(sa.select(*self._ledger.c).execution_options(yield_per=_FETCHED))
        for part in rows.partitions(_FETCHED):
            for account, hashed, probability in part:
                ids.append(account)
                content.append(hashed)
                score.append(probability)
        return Held.of(ids, content, score)

    def _from_table(self) -> Held:
        """Return what the rows of the table say that this project has written."""
        import pyarrow as pa
        import sqlalchemy as sa

        marker, removed = self._fields.marker, self._fields.removed
        assert marker is not None  # noqa: S101, else the state is lost
        wanted = sa.select(*self._table.c).where(self._table.c[marker.name].is_not(None))
        if removed is not None:
            column = self._table.c[removed.name]
            wanted = wanted.where(sa.or_(column.is_(None), column == sa.false()))
        schema, found = schema_of(self._fields.all), []
        rows = self._connection.execute(wanted.execution_options(yield_per=_FETCHED)).mappings()
        for part in rows.partitions(_FETCHED):
            table = pa.Table.from_pylist([_in_utc(each) for each in part], schema=schema)
            found.append(content_of(table, self._fields))
        if not found:
            return Held.nothing()
        columns = [[each for part in found for each in getattr(part, name)] for name in ("content", "score")]
        return Held.of(pa.concat_arrays([part.ids for part in found]), *columns)

    # --- what is sent -----------------------------------------------------------------------------------------------

    def upsert(self, batch: Batch) -> None:
        """Write a batch in one transaction; rows that the database rejects are found by halving it."""
        if (refusal := self._try(lambda: self._write(batch))) is None:
            return
        if len(batch) == 1:
            self._rejects.add(batch.held.ids[0].as_py(), refusal, "upsert")
            return
        half = len(batch) // 2
        self.upsert(batch.part(0, half))
        self.upsert(batch.part(half, len(batch) - half))

    def _write(self, batch: Batch) -> None:
        upsert(self._connection, self._table, batch.rows.to_pylist(), self._fields.id.name)
        upsert(self._connection, self._ledger, _ledger_rows(batch.held), "id")

    def remove(self, batch: Batch) -> None:
        """Flag or delete rows in one transaction."""
        import sqlalchemy as sa

        account = self._table.c[self._fields.id.name]
        rows = batch.rows.to_pylist()
        values = {name: value for name, value in rows[0].items() if name != account.name}

        def write() -> None:
            for part in in_parts([row[account.name] for row in rows]):
                if self._settings.on_removed == "delete":
                    self._connection.execute(sa.delete(self._table).where(account.in_(part)))
                else:
                    self._connection.execute(sa.update(self._table).where(account.in_(part)).values(values))
            for part in in_parts(batch.held.ids.to_pylist()):
                self._connection.execute(sa.delete(self._ledger).where(self._ledger.c.id.in_(part)))

        if (refusal := self._try(write)) is not None:
            for each in batch.held.ids.to_pylist():
                self._rejects.add(each, refusal, "remove")

    def _try(self, write: Any) -> str | None:
        """Do something in one transaction, in which this delivery is still the current one.

        Returns:
            The words of the database if it rejects rows; nothing was then written.
        """
        from sqlalchemy import exc

        refused = (exc.DataError, exc.IntegrityError, *self._refusals())
        try:
            with self._connection.begin():
                self._check_turn()
                write()
        except refused as error:  # type: ignore[misc]
            return said(error)
        except exc.StatementError as error:
            if isinstance(error.orig, OverflowError | UnicodeError | ValueError):  # of the driver, about a value
                return said(error)
            raise
        return None

    def _refusals(self) -> tuple[type[Exception], ...]:
        """Return errors about rows that do not come through SQLAlchemy."""
        return ()

    def _check_turn(self) -> None:
        import sqlalchemy as sa

        mine = sa.and_(self._deliveries.c.target == self._settings.name, self._deliveries.c.token == self._token)
        counted = sa.update(self._deliveries).where(mine).values(batches=self._deliveries.c.batches + 1)
        if self._connection.execute(counted).rowcount != 1:
            raise TargetError("another delivery to it has begun meanwhile, and goes on in place of this one")

    def end(self) -> None:
        """Note the end."""
        import sqlalchemy as sa

        ended = datetime.now(UTC).isoformat()
        with self._connection.begin():
            self._connection.execute(
                sa.update(self._deliveries).where(self._deliveries.c.token == self._token).values(ended_at=ended)
            )


def said(error: Exception, longest: int = LONGEST_WORDS) -> str:
    """Return what a database says, without the statement and its values, which SQLAlchemy adds."""
    cause = getattr(error, "orig", None) or error
    return plain(str(cause) or type(cause).__name__, longest)


def _ledger_rows(held: Held) -> list[dict[str, Any]]:
    score: Sequence[float] = held.score.tolist()
    return [
        {"id": account, "content": hashed, "score": None if probability != probability else probability}
        for account, hashed, probability in zip(held.ids.to_pylist(), held.content.tolist(), score, strict=True)
    ]


def _in_utc(row: Any) -> dict[str, Any]:
    """Return a row whose times have a zone: some databases forget it."""
    return {
        name: value.replace(tzinfo=UTC) if isinstance(value, datetime) and value.tzinfo is None else value
        for name, value in row.items()
    }
