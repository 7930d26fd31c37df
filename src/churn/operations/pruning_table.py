"""The table that `churn prune` shows."""

from collections.abc import Iterable

from churn.config.console import shown_size
from churn.operations.pruning import KINDS, Plan, Verdict

HEADER = ("", "goes", "size", "stays", "size")


def render(made: Plan, *, details: bool = False) -> str:
    """Return a plan as text: a table with number and size by kind, and with `details` each thing with its reason."""
    rows = [HEADER]
    for kind in KINDS:
        of_kind = [verdict for verdict in made.verdicts if verdict.thing.kind == kind]
        if of_kind:
            rows.append((kind, *_cells(of_kind, goes=True), *_cells(of_kind, goes=False)))
    rows.append(("together", *_cells(made.verdicts, goes=True), *_cells(made.verdicts, goes=False)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) if place == 0 else cell.rjust(width) for place, (cell, width) in enumerate(each))
        for each in (list(zip(row, widths, strict=True)) for row in rows)
    ]
    if details:
        lines += ["", *(_line(verdict) for verdict in made.verdicts)]
    if made.is_empty:
        lines += ["", "There is nothing to remove."]
    return "\n".join(lines)


def _cells(verdicts: Iterable[Verdict], *, goes: bool) -> tuple[str, str]:
    things = [verdict.thing for verdict in verdicts if verdict.goes is goes]
    return str(len(things)), shown_size(sum(thing.bytes for thing in things))


def _line(verdict: Verdict) -> str:
    thing = verdict.thing
    return f"{'goes ' if verdict.goes else 'stays'}  {thing.kind}  {thing.name}  {shown_size(thing.bytes)}  {verdict.reason}"
