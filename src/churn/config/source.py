"""Where an account table of your own is: `source_accounts` in the globals of an environment."""

import re
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

from pydantic import Field, ValidationError, model_validator

from churn.config.blocks import Block
from churn.config.secrets import MASK
from churn.errors import ChurnError

# Names of databases at the beginning of a connection URL, as SQLAlchemy has them.
DATABASES = (
    "postgresql", "postgres", "sqlite", "duckdb", "mysql", "mariadb", "mssql", "oracle", "snowflake", "bigquery", "redshift",
    "trino", "databricks", "clickhouse", "cockroachdb", "db2",
)  # fmt: skip


class Source(Block):
    """A table in files, in a workbook or in a database."""

    path: str = Field(
        min_length=1, description="A file, a folder, a workbook (.xlsx), or the connection URL of a database."
    )
    sheet: str | None = Field(default=None, description="Sheet of a workbook; may be empty if it has one only.")
    table: str | None = Field(
        default=None, description="Table or view of a database, perhaps with its schema: `sales.customers`."
    )
    query: str | None = Field(default=None, description="Query of a database, in place of a table.")
    row_number: bool = Field(
        default=False, description="Whether the id is the number of the row, from 1, because the table has none."
    )

    @classmethod
    def of(cls, given: Any) -> Self:
        """Return the source that an environment gives: a path or URL, or a mapping.

        Raises:
            ChurnError: If it has unknown fields, or fields that do not fit the path.
        """
        try:
            return cls.model_validate({"path": given} if isinstance(given, str) else given)
        except ValidationError as error:
            said = "; ".join(
                f"{'.'.join(map(str, fault['loc'])) or 'it'}: {fault['ctx']['error'] if 'ctx' in fault else fault['msg'].lower()}"
                for fault in error.errors()
            )
            raise ChurnError(f"source_accounts: {said}; known are {', '.join(cls.model_fields)}") from None

    @property
    def is_database(self) -> bool:
        """Whether it is a connection URL."""
        return is_database(self.path)

    @property
    def is_workbook(self) -> bool:
        """Whether it is a workbook."""
        return not self.is_database and self.path.lower().endswith((".xlsx", ".xlsm"))

    @property
    def shown(self) -> str:
        """Its path or URL as messages show it: without a password."""
        if not self.is_database:
            return self.path
        parts = urlsplit(self.path)
        if parts.password is None:
            return self.path
        return urlunsplit(parts._replace(netloc=parts.netloc.replace(f":{parts.password}@", f":{MASK}@")))

    @model_validator(mode="after")
    def _fields_fit(self) -> Self:
        if self.path.lower().endswith(".xls"):
            raise ValueError("Excel's old format .xls is not read; open the file and save it as .xlsx, or as CSV")
        if self.sheet is not None and not self.is_workbook:
            raise ValueError("sheet is for workbooks (.xlsx)")
        if self.is_database and (self.table is None) == (self.query is None):
            raise ValueError("a database needs a table or a query, and not both")
        if not self.is_database and (self.table or self.query):
            raise ValueError("table and query are for connection URLs of databases")
        return self


def is_database(path: str) -> bool:
    """Return whether a path is the connection URL of a database."""
    found = re.match(r"([A-Za-z0-9]+)(\+[A-Za-z0-9_]+)?://", path)
    return found is not None and found[1].lower() in DATABASES
