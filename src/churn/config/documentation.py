"""Generator of ``docs/parameters.md`` from the typed parameters: ``python -m churn.config.documentation FILE``."""

import sys
import types
from collections.abc import Iterator, Sequence
from datetime import date
from inspect import cleandoc
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import yaml
from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic.fields import FieldInfo

from churn.config.blocks import Block, block_in, blocks_in, kind_of
from churn.config.parameters import Parameters

PLAIN_TYPES: dict[Any, str] = {
    bool: "true or false",
    int: "whole number",
    float: "number",
    str: "text",
    date: "date (YYYY-MM-DD)",
}
INTRODUCTION = """\
# Parameters

Every parameter of the pipelines, by its name in `conf/*/parameters*.yml` and in `--params`. `make docs` generates this page
from the models in `src/churn/config`; every value is validated against the same models before a run.

- A name with `[]` is a field of every item of a list. `--params` cannot name items; set the list in a YAML file.
- A name with `[sql]` is a field of the items of this `kind`.
- *required* means that an environment has to set the value; `conf/base` sets it for the simulated table.
- `conf/base` has the defaults listed here. `accounts` and `feature_engineering.ratios` are the exception: they describe the
  table, and `conf/base` describes the simulated one.
- Four numbers of `profit` have examples as their defaults, and `conf/base` leaves them out: amounts of money are shown "at
  example costs" until an environment sets its own ([profit.md](profit.md)).
"""


class Row(NamedTuple):
    """One row of a table of parameters; every cell is Markdown."""

    name: str
    kind: str
    limits: str
    default: str
    description: str


def render_parameters() -> str:
    """Return the page as Markdown: one section for each block of parameters, followed by its nested blocks."""
    single: dict[str, FieldInfo] = {}
    sections = [INTRODUCTION]
    for name, field in Parameters.model_fields.items():
        block = block_in(field.annotation)
        if block is None:
            single[name] = field
        else:
            sections += _sections(block, name, level=2)
    rows = [_row(name, field) for name, field in single.items()]
    sections.append(f"## On the command line only\n\n{_table(rows)}")
    return "\n".join(sections)


def _sections(block: type[Block], name: str, level: int) -> Iterator[str]:
    """Yield the section of a block, then those of its nested blocks."""
    text = cleandoc(block.__doc__ or "").replace("``", "`")
    rows = [_row(f"{name}.{field_name}", field) for field_name, field in block.model_fields.items()]
    yield f"{'#' * level} {name}\n\n{text}\n\n{_table(rows)}"
    for field_name, field in block.model_fields.items():
        blocks = blocks_in(field.annotation)
        for nested in blocks:
            items = "[]" if _is_list(field.annotation) else ""
            if len(blocks) > 1:  # of several kinds
                items = f"[{kind_of(nested)}]"
            yield from _sections(nested, f"{name}.{field_name}{items}", level + 1)


def _table(rows: Sequence[Row]) -> str:
    header = Row("name", "type", "range", "default", "description")
    lines = [header, Row(*["---"] * len(header)), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _row(name: str, field: FieldInfo) -> Row:
    return Row(f"`{name}`", _kind(field.annotation), _limits(field), _default(field), field.description or "")


def _kind(annotation: Any) -> str:
    """Return the words for a type."""
    annotation = _bare(annotation)
    if _is_list(annotation):
        item = _bare(get_args(annotation)[0])
        if get_origin(item) is Literal:
            return "list of values"
        return "list of texts" if item is str else "list of blocks"
    if get_origin(annotation) is dict:
        return "values by name"
    if block_in(annotation):
        return "block"
    if get_origin(annotation) is Literal:
        return "one of the values"
    members = _members(annotation)
    if len(members) > 1:
        kinds = [_kind(member) for member in members if member is not type(None)]
        return " or ".join(kinds) + (", or empty" if type(None) in members else "")
    return PLAIN_TYPES[annotation]


def _limits(field: FieldInfo) -> str:
    """Return the allowed values in words; a dash if the type is the only limit."""
    annotation = _bare(field.annotation)
    if get_origin(annotation) is dict or (
        _is_list(annotation) and get_origin(_bare(get_args(annotation)[0])) is Literal
    ):
        annotation = get_args(annotation)[-1 if get_origin(annotation) is dict else 0]
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(annotation))
    bounds: list[str] = []
    for item in field.metadata:
        match item:
            case Ge():
                bounds.append(f"at least {_number(item.ge)}")
            case Gt():
                bounds.append(f"above {_number(item.gt)}")
            case Le():
                bounds.append(f"at most {_number(item.le)}")
            case Lt():
                bounds.append(f"below {_number(item.lt)}")
            case MinLen():
                bounds.append(f"at least {item.min_length} {'item' if _is_list(annotation) else 'character'}")
            case _ if pattern := getattr(item, "pattern", None):
                bounds.append(f"`{pattern}`".replace("|", "\\|"))
            case _:
                pass  # a validator that converts, not a limit
    return ", ".join(bounds) or "-"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "*required*"
    value = field.get_default()
    if value is None:
        return "empty"
    if isinstance(value, Block):
        return "see below"
    if isinstance(value, tuple):
        return f"`[{', '.join(_item(item) for item in value)}]`"
    return f"`{_scalar(value)}`"


def _number(bound: Any) -> str:
    return f"{bound:g}" if isinstance(bound, float) else str(bound)


def _item(value: Any) -> str:
    """Return an item of a list as in YAML."""
    if isinstance(value, Block):
        return f"{{{', '.join(f'{name}: {_scalar(part)}' for name, part in value.model_dump().items())}}}"
    is_plain = not isinstance(value, str) or yaml.safe_load(value) == value
    return _scalar(value) if is_plain else repr(value)


def _scalar(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _bare(annotation: Any) -> Any:
    """Return a type without its ``Annotated`` metadata."""
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _members(annotation: Any) -> Sequence[Any]:
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)


def _is_list(annotation: Any) -> bool:
    return get_origin(_bare(annotation)) is tuple


def main(arguments: Sequence[str]) -> int:
    """Write the page to the file named by the only argument, and return the exit code."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m churn.config.documentation <file>\n")
        return 2
    Path(arguments[0]).write_text(render_parameters(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
