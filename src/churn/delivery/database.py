"""A table of a database, through SQLAlchemy: any that it knows, and PostgreSQL by its own ways."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from churn.config import SqlTarget
from churn.config.secrets import REDACTION
from churn.delivery.columns import REMOVED, Fields
from churn.delivery.database_session import DatabaseSession, said
from churn.delivery.target import Rejects, Session, Target, TargetError


class Database(Target):
    """A table of a database."""

    @property
    def _sql(self) -> SqlTarget:
        return cast("SqlTarget", self.settings)

    @property
    def flagged(self) -> bool:  # type: ignore[override]
        """Whether its columns have `REMOVED` by default."""
        return self._sql.on_removed == "flag"

    @property
    def batch_rows(self) -> int:
        """Rows of a transaction."""
        return self._sql.batch

    @property
    def place(self) -> str:
        """The database and the table."""
        from sqlalchemy.engine import make_url

        url = make_url(str(self._credentials["url"]))
        return f"{url.get_backend_name()} {url.database or ''}, table {self._sql.table}"

    def faults(self) -> list[str]:
        """Return what is wrong with credentials and parameters."""
        place = f"credentials.yml: delivery.{self.settings.name}.url"
        if not self._credentials.get("url"):
            return [f"{place} is empty; set the address of the database as SQLAlchemy writes it"]
        from sqlalchemy import exc
        from sqlalchemy.engine import make_url

        try:
            make_url(str(self._credentials["url"])).get_dialect().import_dbapi()
        except exc.NoSuchModuleError:
            return [f"{place} names a database that SQLAlchemy does not know; install the package of its dialect"]
        except exc.ArgumentError:
            return [f"{place} is no address of a database, like postgresql+psycopg://user:password@host/database"]
        except ImportError as error:
            return [f"{place}: the driver {error.name} is not installed"]
        settings = self._sql
        flag = [column for column in settings.columns if column.source == REMOVED]
        if settings.columns and settings.on_removed == "flag" and not flag:
            return [f"columns has none with the source {REMOVED}; add it, or set on_removed to delete"]
        return []

    @contextmanager
    def session(self, fields: Fields, rejects: Rejects) -> Iterator[Session]:
        """Connect.

        Raises:
            TargetError: If the database does not answer, or an error of it ends the delivery.
        """
        import sqlalchemy as sa
        from sqlalchemy import exc
        from sqlalchemy.engine import make_url

        url = make_url(str(self._credentials["url"]))
        fast = url.get_backend_name() == "postgresql" and url.get_driver_name() == "psycopg"
        session: Any = DatabaseSession
        errors: tuple[type[Exception], ...] = (exc.SQLAlchemyError,)
        options: dict[str, Any] = {}
        if fast:
            from churn.delivery import postgres

            session, errors, options = postgres.PostgresSession, (*errors, postgres.ERROR), postgres.OPTIONS
        elif url.get_backend_name() == "sqlite":
            options = {"timeout": 30}
        engine = sa.create_engine(url, connect_args=options, poolclass=sa.NullPool)
        try:
            with engine.connect() as connection:
                yield session(connection, self._sql, fields, rejects)
        except errors as error:
            raise TargetError(REDACTION.text(said(error, 500).splitlines()[0])) from error
        finally:
            engine.dispose()
