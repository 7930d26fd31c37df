"""Tables of which a batch of rows is looked at at a time, and a column at a time where all of it is needed."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import pandas as pd


def spacing(rows: int, most: int) -> int:
    """Every which row is taken where at most so many are wanted, from the first on."""
    return max(1, math.ceil(rows / most))


class Table(ABC):
    """Rows in their order, again each time they are asked for.

    Attributes:
        is_distributed: Whether they lie on other machines, where work on them is done then.
    """

    is_distributed = False

    @property
    @abstractmethod
    def columns(self) -> list[str]:
        """Names of its columns."""

    @abstractmethod
    def __len__(self) -> int:
        """How many rows there are."""

    @abstractmethod
    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
        """All rows, a batch at a time.

        Args:
            columns: Which columns, in this order; all by default.
        """

    def frame(self, columns: Sequence[str] | None = None, most_rows: int | None = None) -> pd.DataFrame:
        """Rows as one frame.

        Args:
            columns: Which columns, in this order; all by default.
            most_rows: Evenly spaced rows, at most so many; all by default. A table may be sorted.
        """
        step = spacing(len(self), most_rows) if most_rows else 1
        parts, before = [], 0
        for batch in self.batches(columns):
            parts.append(batch.iloc[-before % step :: step] if step > 1 else batch)
            before += len(batch)
        return parts[0].reset_index(drop=True) if len(parts) == 1 else pd.concat(parts, ignore_index=True)

    def column(self, name: str) -> pd.Series:
        """One column, all rows of it."""
        return self.frame([name])[name]


class FrameTable(Table):
    """A table that is in memory already."""

    def __init__(self, frame: pd.DataFrame) -> None:
        """Take a frame; it is not changed."""
        self._frame = frame

    @property
    def columns(self) -> list[str]:
        """Names of its columns."""
        return [str(name) for name in self._frame.columns]

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self._frame)

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
        """The frame."""
        yield self._frame if columns is None else self._frame[list(columns)]
