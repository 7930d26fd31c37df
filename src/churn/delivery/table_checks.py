"""Whether a table has the columns that a target's parameters name, and the types of columns that are made."""

from typing import TYPE_CHECKING, Any

from churn.config import SqlTarget
from churn.config.delivery import ColumnType
from churn.delivery.columns import Field, Fields

if TYPE_CHECKING:
    import sqlalchemy as sa

# Characters of an id where a key cannot be a text of any length.
LONGEST_ID = 255


def id_type() -> Any:
    """Return the type of a column with ids, in which upper and lower case differ."""
    import sqlalchemy as sa
    from sqlalchemy.dialects import mysql

    exact = mysql.VARCHAR(LONGEST_ID, charset="utf8mb4", collation="utf8mb4_bin")
    short = sa.String(LONGEST_ID)
    return sa.Text().with_variant(exact, "mysql", "mariadb").with_variant(short, "oracle", "mssql")


def column_of(field: Field, fields: Fields, there: Any | None) -> "sa.Column[Any]":
    """Return a column of the table.

    Args:
        field: Its description.
        fields: All columns of the target.
        there: The column as the database describes it; ``None`` if there is no table.
    """
    import sqlalchemy as sa

    types: dict[ColumnType, Any] = {
        "text": sa.Text(),
        "integer": sa.BigInteger(),
        "real": sa.Double(),
        "boolean": sa.Boolean(),
        "date": sa.Date(),
        "timestamp": sa.DateTime(timezone=True),
    }
    kind = types[field.type]
    is_id = field is fields.id
    if is_id and field.type == "text":
        kind = id_type()
        if there is not None and isinstance(there["type"], sa.Uuid):
            kind = sa.Uuid(as_uuid=False)
    return sa.Column(field.name, kind, primary_key=is_id, autoincrement=False)


def table_faults(inspector: "sa.Inspector", settings: SqlTarget, fields: Fields) -> list[str]:
    """Return each difference between a table and the parameters of its target."""
    name, namespace = settings.table, settings.namespace
    there = {each["name"]: each for each in inspector.get_columns(name, schema=namespace)}
    faults = []
    for field in fields.all:
        column = there.get(field.name)
        if column is None:
            faults.append(
                f"the table {name} has no column {field.name}, which columns maps from {field.source}; add it"
            )
        elif not _takes(column["type"], field):
            faults.append(
                f"the column {field.name} of the table {name} has the type {column['type']}, and {field.source} is mapped as "
                f"{field.type}; correct one of them"
            )
    mapped = {field.name for field in fields.all}
    for column_name, column in there.items():
        fills_itself = column.get("default") is not None or column.get("autoincrement") is True
        generated = column.get("computed") or column.get("identity")
        if column_name not in mapped and not (column.get("nullable", True) or fills_itself or generated):
            faults.append(
                f"the column {column_name} of the table {name} may not be empty, and columns does not name it"
            )
    if fields.id.name in there and not _is_key(inspector, settings, fields.id.name):
        faults.append(
            f"the column {fields.id.name} of the table {name} is neither its primary key nor unique, so a row cannot be "
            "updated by its id; add the constraint"
        )
    return faults


def _is_key(inspector: "sa.Inspector", settings: SqlTarget, column: str) -> bool:
    name, namespace = settings.table, settings.namespace
    # SQLite makes an index for a constraint, and lists neither.
    hidden = {"include_auto_indexes": True} if inspector.dialect.name == "sqlite" else {}
    keys: list[Any] = [inspector.get_pk_constraint(name, schema=namespace).get("constrained_columns")]
    keys += [each["column_names"] for each in inspector.get_unique_constraints(name, schema=namespace)]
    keys += [
        each["column_names"]
        for each in inspector.get_indexes(name, schema=namespace, **hidden)
        if each.get("unique") and not (each.get("dialect_options") or {}).get("postgresql_where")
    ]
    return [column] in [list(key or []) for key in keys]


def _takes(kind: Any, field: Field) -> bool:
    """Return whether a column of a database can hold the values of a target's column."""
    import sqlalchemy as sa

    numbers = (sa.Integer, sa.Numeric, sa.Float)
    taken: dict[ColumnType, tuple[type[Any], ...]] = {
        "text": (sa.String, sa.Uuid, sa.Enum),
        "integer": numbers,
        "real": (sa.Float, sa.Numeric),
        "boolean": (sa.Boolean, sa.Integer),
        "date": (sa.Date, sa.DateTime),
        "timestamp": (sa.DateTime,),
    }
    return isinstance(kind, (*taken[field.type], sa.types.NullType))
