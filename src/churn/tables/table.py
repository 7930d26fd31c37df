"""Tables that are read in batches of rows, or column by column where all rows are needed."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import pandas as pd


def spacing(rows: int, most: int) -> int:
    """Return the step k for which every k-th of `rows` rows, from the first on, are at most `most` rows."""
    return max(1, math.ceil(rows / most))


class Table(ABC):
    """Rows in a fixed order, which can be read any number of times.

    Attributes:
        is_distributed: Whether the rows are on the machines of a cluster and processed there.
    """

    is_distributed = False

    @property
    @abstractmethod
    def columns(self) -> list[str]:
        """Names of the columns."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of rows."""

    @abstractmethod
    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
        """Iterate over all rows in batches.

        Args:
            columns: Columns to read, in this order; all by default.
        """

    def frame(self, columns: Sequence[str] | None = None, most_rows: int | None = None) -> pd.DataFrame:
        """Return rows as one frame.

        Args:
            columns: Columns to read, in this order; all by default.
            most_rows: Largest number of rows, which are evenly spaced as a table may be sorted; all rows by default.
        """
        step = spacing(len(self), most_rows) if most_rows else 1
        parts, before = [], 0
        for batch in self.batches(columns):
            parts.append(batch.iloc[-before % step :: step] if step > 1 else batch)
            before += len(batch)
        return parts[0].reset_index(drop=True) if len(parts) == 1 else pd.concat(parts, ignore_index=True)

    def column(self, name: str) -> pd.Series:
        """Return all rows of one column."""
        return self.frame([name])[name]


class FrameTable(Table):
    """A table in memory."""

    def __init__(self, frame: pd.DataFrame) -> None:
        """Wrap a frame, which is not changed."""
        self._frame = frame

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return [str(name) for name in self._frame.columns]

    def __len__(self) -> int:
        """Number of rows."""
        return len(self._frame)

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
        """Yield the frame as one batch."""
        yield self._frame if columns is None else self._frame[list(columns)]
