"""Faults of a table: which values, in which rows, and the sentence that says so."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn.config import AccountSchema
from churn.tables.cells import quoted

MAX_EXAMPLES = 3


@dataclass(frozen=True)
class Fault:
    """What is wrong with some values of a column, and in which rows.

    Attributes:
        column: Where.
        reason: What they are that they must not be.
        count: How many.
        rows: Rows of the first few, counted from 1 without the header.
        examples: The first few values as messages show them, never ids.
        advice: How the sentence ends.
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
        """The fault of the values at some places; without values there are no examples."""
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
        """The same fault in these rows and in later ones."""
        return replace(
            self,
            count=self.count + later.count,
            rows=(self.rows + later.rows)[:MAX_EXAMPLES],
            examples=(self.examples + later.examples)[:MAX_EXAMPLES],
        )

    def after(self, rows: int) -> "Fault":
        """The same fault where so many rows come before those it was found in."""
        return replace(self, rows=tuple(row + rows for row in self.rows))

    @property
    def sentence(self) -> str:
        """The fault as messages tell it."""
        count = f"{self.count} value{'s are' if self.count > 1 else ' is'}"
        example = f", for example {', '.join(self.examples)}" if self.examples else ""
        more = ", ..." if self.count > len(self.rows) else ""
        rows = f"row{'s' if self.count > 1 else ''} {', '.join(map(str, self.rows))}{more}"
        return f"{self.column}: {count} {self.reason}{example} ({rows}){self.advice}"


def repeated(again: NDArray[np.bool_], name: str) -> list[Fault]:
    """The fault of ids that occurred before, where there are any: for each row of the table whether its id did."""
    advice = "; an account has one row"
    return [Fault.of(name, "a repetition of an earlier id", again, None, advice=advice)] if again.any() else []


def sentences(found: Iterable[Fault], schema: AccountSchema) -> list[str]:
    """Faults as messages tell them, those of the id first."""
    return [fault.sentence for fault in sorted(found, key=lambda fault: fault.column != schema.id)]


NOT_A_NUMBER = "not a number"
