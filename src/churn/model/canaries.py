"""Canary rows: training rows that are stored with a model, with the scores that it must give them, to the last bit.

A model whose files are whole may still compute other scores: with a damaged or another build of XGBoost or numpy, or on a
faulty machine. The rows have no ids.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

# Rows at even distances in the order of their scores, and the most further ones, with missing values.
BY_SCORE, MISSING = 16, 16
# Rows among which they are chosen.
CANDIDATES = 2_000


@dataclass(frozen=True)
class Canaries:
    """Canonical values of n rows, and their scores.

    Attributes:
        numeric: Values of each numeric column, n each; None where missing.
        categorical: Values of each categorical column, likewise.
        probability: The scores; each is exactly a float32.
    """

    numeric: Mapping[str, tuple[float | None, ...]]
    categorical: Mapping[str, tuple[str | None, ...]]
    probability: tuple[float, ...]

    @classmethod
    def of(
        cls,
        accounts: pd.DataFrame,
        probability: NDArray[np.float32],
        numeric: Sequence[str],
        categorical: Sequence[str],
    ) -> Self:
        """Choose rows, the same ones for the same table.

        Args:
            accounts: Canonical rows, at least one.
            probability: Their scores, shape (n,).
            numeric: Names of the numeric columns.
            categorical: Names of the categorical columns.
        """
        order = np.argsort(probability, kind="stable")
        chosen = dict.fromkeys(order[np.linspace(0, len(order) - 1, BY_SCORE).round().astype(np.intp)].tolist())
        is_missing = accounts[[*numeric, *categorical]].isna().to_numpy(bool)
        lacking = [column for column in range(is_missing.shape[1]) if not is_missing[list(chosen), column].any()]
        for column in lacking[:MISSING]:
            chosen |= dict.fromkeys(np.flatnonzero(is_missing[:, column])[:1].tolist())
        rows = accounts.iloc[list(chosen)]
        return cls(
            {
                name: tuple(None if each != each else each for each in rows[name].astype("float64").tolist())
                for name in numeric
            },
            {name: tuple(None if pd.isna(each) else str(each) for each in rows[name]) for name in categorical},
            tuple(probability[list(chosen)].tolist()),
        )

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.probability)

    def frame(self) -> pd.DataFrame:
        """Return the rows as a canonical table, without ids."""
        numbers = {name: pd.Series(values, dtype="float64") for name, values in self.numeric.items()}
        return pd.DataFrame(
            numbers | {name: pd.Series(values, dtype="str") for name, values in self.categorical.items()}
        )

    def records(self, id_column: str) -> list[dict[str, Any]]:
        """Return the rows as mappings from column to value, with numbers for ids."""
        columns = {**self.numeric, **self.categorical}
        return [
            {id_column: f"canary-row-{row}", **{name: values[row] for name, values in columns.items()}}
            for row in range(len(self))
        ]

    def faults(self, probability: NDArray[np.float32]) -> list[str]:
        """Return what is wrong with scores of the rows, shape (n,); empty if they are those that are stored."""
        expected = np.array(self.probability, dtype=np.float32)
        wrong = np.flatnonzero(np.asarray(probability, dtype=np.float32).view(np.uint32) != expected.view(np.uint32))
        if not len(wrong):
            return []
        first = int(wrong[0])
        said = (
            f"{len(wrong)} of {len(self)} canary rows are scored in another way than when the model was trained, for example "
            f"{probability[first]:.9g} instead of {expected[first]:.9g}: XGBoost or numpy on this machine are damaged, or "
            "compute in another way"
        )
        return [said]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types, from which `from_dict` restores equal rows."""
        return {
            "numeric": {name: list(values) for name, values in self.numeric.items()},
            "categorical": {name: list(values) for name, values in self.categorical.items()},
            "probability": list(self.probability),
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Restore rows from the result of `to_dict`."""
        return cls(
            {
                name: tuple(None if each is None else float(each) for each in values)
                for name, values in stored["numeric"].items()
            },
            {name: tuple(values) for name, values in stored["categorical"].items()},
            tuple(map(float, stored["probability"])),
        )
