"""The columns of a target: how published columns are named, typed and rounded for it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from churn.config import DeliveryColumn, DeliveryTarget
from churn.config.delivery import ColumnType
from churn.errors import ChurnError, closest

if TYPE_CHECKING:
    import pyarrow as pa

PROBABILITY, PROFIT, REMOVED = "probability", "expected_profit", "removed"
# Columns whose values are those of the run, the same for all accounts.
OF_THE_RUN: dict[str, ColumnType] = {
    "run_id": "text",
    "as_of": "date",
    "published_at": "timestamp",
    "delivered_at": "timestamp",
}
# Columns that change with every run: a change of theirs alone is not sent unless a target asks for it.
QUIET = (*OF_THE_RUN, "model_version", REMOVED)
_TRUE, _FALSE = ("yes", "true", "1"), ("no", "false", "0")


@dataclass(frozen=True)
class Field:
    """A column of a target.

    Attributes:
        source: Published column, or column of the run, or `REMOVED`.
        name: Its name at the target.
        type: Its type at the target.
        decimals: Decimals that it is rounded to; ``None`` for no rounding.
        matters: Whether a change of it alone is sent. That of the probability is judged by the tolerance.
    """

    source: str
    name: str
    type: ColumnType
    decimals: int | None = None
    matters: bool = True


@dataclass(frozen=True)
class Fields:
    """The columns of a target, in order.

    Attributes:
        id: Column with the id of the account.
        all: All columns, the id among them.
    """

    id: Field
    all: tuple[Field, ...]

    @property
    def removed(self) -> Field | None:
        """The column that is true for an account that is no longer delivered, if there is one."""
        return next((field for field in self.all if field.source == REMOVED), None)

    @property
    def of_the_run(self) -> list[Field]:
        """Columns with the values of the run."""
        return [field for field in self.all if field.source in OF_THE_RUN]

    @property
    def probability(self) -> Field | None:
        """The column of the probability, if there is one."""
        return next((field for field in self.all if field.source == PROBABILITY), None)

    @property
    def marker(self) -> Field | None:
        """A column that only rows have which this project has written, if there is one."""
        return next((field for field in self.all if field.source in ("run_id", "delivered_at")), None)


def fields_of(target: DeliveryTarget, published: "pa.Schema", id_column: str, *, flagged: bool = False) -> Fields:
    """Return the columns of a target.

    Args:
        target: Parameters of the target.
        published: Names and types of the published columns.
        id_column: Published column with the id.
        flagged: Whether the target has a column `REMOVED` unless its parameters name the columns.

    Raises:
        ChurnError: If a column does not exist or the id is not among them; names each.
    """
    given: Sequence[DeliveryColumn] = target.columns
    if not given:
        names = [*dict.fromkeys([*published.names, *OF_THE_RUN]), *([REMOVED] if flagged else [])]
        given = [DeliveryColumn(source=name) for name in names if name != "published_at"]
    known = [*published.names, *OF_THE_RUN, REMOVED]
    faults = []
    for column in given:
        if column.source not in known:
            close = closest(column.source, known)
            hint = f"did you mean {close}?" if close else f"there are {', '.join(known)}"
            faults.append(f"columns: {column.source!r} is not published; {hint}")
    if id_column not in [column.source for column in given]:
        faults.append(f"columns: the id {id_column} is missing, by which the target tells accounts apart")
    if faults:
        raise ChurnError("; ".join(faults))
    fields = tuple(_field(column, published, target.tolerance) for column in given)
    return Fields(next(field for field in fields if field.source == id_column), fields)


def _field(column: DeliveryColumn, published: "pa.Schema", tolerance: float) -> Field:
    loud = column.source not in QUIET and not (tolerance > 0 and column.source == PROFIT)
    return Field(
        column.source,
        column.target_name,
        column.type or _type_of(column.source, published),
        column.decimals,
        loud if column.matters is None else column.matters,
    )


def _type_of(source: str, published: "pa.Schema") -> ColumnType:
    import pyarrow as pa

    if source in OF_THE_RUN:
        return OF_THE_RUN[source]
    if source == REMOVED:
        return "boolean"
    kind = published.field(source).type
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_integer(kind):
        return "integer"
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "real"
    if pa.types.is_date(kind):
        return "date"
    return "timestamp" if pa.types.is_timestamp(kind) else "text"


def arrow_type(kind: ColumnType) -> "pa.DataType":
    """Return the Arrow type of the values of a column."""
    import pyarrow as pa

    types: dict[ColumnType, pa.DataType] = {
        "text": pa.string(),
        "integer": pa.int64(),
        "real": pa.float64(),
        "boolean": pa.bool_(),
        "date": pa.date32(),
        "timestamp": pa.timestamp("us", tz="UTC"),
    }
    return types[kind]


def schema_of(fields: Iterable[Field]) -> "pa.Schema":
    """Return names and types of columns at the target."""
    import pyarrow as pa

    return pa.schema([(field.name, arrow_type(field.type)) for field in fields])


def mapped(rows: "pa.Table", fields: Fields, of_the_run: dict[str, Any]) -> "pa.Table":
    """Return published rows as a target gets them.

    Args:
        rows: Rows with the published columns.
        fields: Columns of the target.
        of_the_run: Value of each column of the run, by its source.

    Raises:
        ChurnError: If a column has values that its type cannot hold.
    """
    import pyarrow as pa

    columns = []
    for field in fields.all:
        if field.source == REMOVED:
            column = pa.repeat(False, len(rows)).cast(arrow_type("boolean"))
        elif field.source in of_the_run:
            column = pa.repeat(pa.scalar(of_the_run[field.source]), len(rows))
        else:
            column = rows[field.source]
        columns.append(_converted(column, field))
    return pa.table(columns, schema=schema_of(fields.all))


def _converted(column: Any, field: Field) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(column.type):
        column = pc.cast(column, column.type.value_type)
    try:
        if pa.types.is_float32(column.type) or pa.types.is_float16(column.type):
            # By the shortest text, so that 0.1 stays 0.1 and does not become 0.10000000149.
            column = pc.cast(pc.cast(pc.cast(column, pa.float32()), pa.string()), pa.float64())
        if field.decimals is not None and pa.types.is_floating(column.type):
            column = pc.round(column, field.decimals)
        if field.type == "boolean" and not pa.types.is_boolean(column.type):
            return _as_boolean(pc.cast(column, pa.string()), field)
        if field.type == "text" and (pa.types.is_date(column.type) or pa.types.is_timestamp(column.type)):
            return pa.array([None if value is None else value.isoformat() for value in column.to_pylist()], pa.string())
        if field.type == "timestamp" and pa.types.is_string(column.type):
            column = pc.cast(column, pa.timestamp("us"))
        return pc.cast(column, arrow_type(field.type))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ChurnError(
            f"the column {field.source} cannot be of the type {field.type}: {str(error).splitlines()[0]}; correct its type in "
            "delivery.targets"
        ) from error


def _as_boolean(text: Any, field: Field) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    lowered = pc.utf8_lower(text)
    true, false = (pc.is_in(lowered, value_set=pa.array(words)) for words in (_TRUE, _FALSE))
    known = pc.or_(pc.or_(true, false), pc.is_null(lowered))
    if not pc.all(known).as_py() and len(text):
        strange = pc.filter(text, pc.invert(known))[0].as_py()
        raise ChurnError(
            f"the column {field.source} cannot be of the type boolean: {strange!r} is neither yes nor no; correct its type in "
            "delivery.targets"
        )
    return pc.if_else(pc.is_null(lowered), pa.scalar(None, pa.bool_()), true)
