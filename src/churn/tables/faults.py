"""Faults of a table: column, values and rows, and the sentence that reports them."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn.config import AccountSchema
from churn.tables.cells import quoted

MAX_EXAMPLES = 3

NOT_A_NUMBER = "not a number"
HIDDEN = "number signs (###) as a spreadsheet shows them for a number in a column that is too narrow"
HIDDEN_NUMBER = "#{2,}"
EMPTY = "empty"
NOT_ONE_VALUE = "not a single value but a list, a record, bytes or broken text"
NOT_FINITE = "not finite"
NOT_WHOLE = "not a whole number"
REPEATED = "a repetition of an earlier id"
# The encoder computes features as float32.
LARGEST_NUMBER = float(np.finfo(np.float32).max)
TOO_LARGE = f"too large for the model, whose numbers end at {LARGEST_NUMBER:.2g}"

# Ends of sentences by their reason, for numeric columns and for others.
NUMERIC_ADVICE = {
    NOT_ONE_VALUE: "; take the column out of accounts.numeric",
    HIDDEN: "; widen the column there and export again",
    NOT_A_NUMBER: "; if that means missing, add it to accounts.missing",
    NOT_FINITE: "; correct it, or leave the cell empty",
    TOO_LARGE: "; correct it, or leave the cell empty",
}
ID_ADVICE = {NOT_ONE_VALUE: "; an id is text or a whole number", REPEATED: "; an account has one row"}
CARRIED_ADVICE = {NOT_ONE_VALUE: "; take the column out of accounts.carry, or write it as text"}
CATEGORICAL_ADVICE = {NOT_ONE_VALUE: "; take the column out of accounts.categorical, or write it as text"}


@dataclass(frozen=True)
class Fault:
    """A fault that some values of a column have in common.

    Attributes:
        column: Name of the column.
        reason: What is wrong with the values, for example ``not a number``.
        count: Number of values.
        rows: Row numbers of the first few, counted from 1 without the header.
        examples: The first few values as messages show them, never ids.
        advice: End of the sentence, for example the remedy.
    """

    column: str
    reason: str
    count: int
    rows: tuple[int, ...]
    examples: tuple[str, ...] = ()
    advice: str = ""

    @classmethod
    def of(
        cls,
        column: str,
        reason: str,
        broken: NDArray[np.bool_],
        values: pd.Series | None,
        first_row: int = 1,
        advice: str = "",
    ) -> Self:
        """Return the fault of the values that a mask selects; None for the values leaves the examples out."""
        places = np.flatnonzero(broken)
        samples = () if values is None else tuple(values[broken].head(MAX_EXAMPLES).dropna())
        return cls(
            column,
            reason,
            len(places),
            tuple((places[:MAX_EXAMPLES] + first_row).tolist()),
            tuple(map(quoted, samples)),
            advice,
        )

    def __add__(self, later: "Fault") -> "Fault":
        """Merge with the same fault in later rows."""
        return replace(
            self,
            count=self.count + later.count,
            rows=(self.rows + later.rows)[:MAX_EXAMPLES],
            examples=(self.examples + later.examples)[:MAX_EXAMPLES],
        )

    def after(self, rows: int) -> "Fault":
        """Return the fault with its row numbers moved by the `rows` that come before."""
        return replace(self, rows=tuple(row + rows for row in self.rows))

    @property
    def sentence(self) -> str:
        """Return the fault as a sentence for messages."""
        count = f"{self.count} value{'s are' if self.count > 1 else ' is'}"
        example = f", for example {', '.join(self.examples)}" if self.examples else ""
        more = ", ..." if self.count > len(self.rows) else ""
        rows = f"row{'s' if self.count > 1 else ''} {', '.join(map(str, self.rows))}{more}"
        return f"{self.column}: {count} {self.reason}{example} ({rows}){self.advice}"


def repeated(again: NDArray[np.bool_], name: str) -> list[Fault]:
    """Return the fault of repeated ids, if any; the mask says for each row whether its id occurred before."""
    return [Fault.of(name, REPEATED, again, None, advice=ID_ADVICE[REPEATED])] if again.any() else []


def below(minimum: float) -> str:
    """Return the reason of values below the minimum of a column."""
    return f"below the minimum of {minimum:g}"


def above(maximum: float) -> str:
    """Return the reason of values above the maximum of a column."""
    return f"above the maximum of {maximum:g}"


def merged(found: Iterable[Fault], more: Iterable[Fault]) -> list[Fault]:
    """Return faults with those of later rows, one for each column and reason."""
    known = {(fault.column, fault.reason): fault for fault in found}
    for fault in more:
        key = (fault.column, fault.reason)
        known[key] = known[key] + fault if key in known else fault
    return list(known.values())


def sentences(found: Iterable[Fault], schema: AccountSchema) -> list[str]:
    """Return faults as sentences for messages, those of the id first."""
    return [fault.sentence for fault in sorted(found, key=lambda fault: fault.column != schema.id)]
