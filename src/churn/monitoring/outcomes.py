"""Join published scores with outcomes for the health report, from tables of any length."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import singledispatch

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn.config import AccountSchema
from churn.errors import AccountsError
from churn.tables import Batches, Table, as_text, quoted
from churn.tables.ids import RepeatedIds, dated_ids, hashes_of, repetitions, second_hashes_of
from churn.tables.labels import OUTCOMES, UNKNOWN, OutcomeRows, check_outcome_columns

# Column of outcomes of logged requests: the date of the values that were scored.
AS_OF = "as_of"
_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"


@dataclass(frozen=True)
class ScoredAccounts:
    """Scores and outcomes of n accounts, 12 bytes per account.

    Attributes:
        probability: Probability of churn, shape (n,); nan where missing.
        flagged: Whether each account is predicted to churn, shape (n,).
        band: Position of each account's risk band in the names of the bands, shape (n,); -1 if it is not among them.
        unknown_bands: Names of risk bands that are not among them.
        unique: Number of different ids.
        versions: Versions of the model that computed the scores, sorted.
        truth: Outcome of each account, shape (n,): 1 for churned, 0 for stayed, -1 for not known. None if there is no
            table of outcomes yet.
        outcomes: Number of rows in the table of outcomes, which may include other accounts.
    """

    probability: NDArray[np.float64]
    flagged: NDArray[np.bool_]
    band: NDArray[np.int16]
    unknown_bands: Sequence[str]
    unique: int
    versions: Sequence[str]
    truth: NDArray[np.int8] | None = None
    outcomes: int = 0

    def __len__(self) -> int:
        """Number of accounts."""
        return len(self.probability)


@singledispatch
def scored_accounts(
    predictions: Table, outcomes: Batches | None, schema: AccountSchema, bands: Sequence[str]
) -> ScoredAccounts:
    """Join scored accounts with their outcomes by hashes of the ids; takes about 30 bytes of memory per account.

    Args:
        predictions: The scores: the id in the first column, then ``probability``, ``prediction`` (0 or 1), ``risk_band`` and
            ``model_version``. `churn.spark` registers the implementation for Spark frames.
        outcomes: Ids and labels, of some of the accounts and perhaps of others; None if there are none yet.
        schema: Schema of the account table.
        bands: Names of the risk bands, from the lowest to the highest.

    Raises:
        AccountsError: Lists every fault of the outcomes: a missing column, an empty or repeated id, a label that
            means neither churned nor stayed.
    """
    known = None if outcomes is None else _Outcomes(outcomes, schema)
    rows, name = len(predictions), predictions.columns[0]
    probability, flagged, band = np.empty(rows), np.empty(rows, np.bool_), np.empty(rows, np.int16)
    truth = None if known is None else np.empty(rows, np.int8)
    versions: set[str] = set()
    unknown: set[str] = set()
    names = [name, "probability", "prediction", "risk_band"]
    versioned = "model_version" in predictions.columns
    before = with_id = 0
    with RepeatedIds() as ids:
        for batch in predictions.batches([*names, "model_version"] if versioned else names):
            at = slice(before, before + len(batch))
            before = at.stop
            probability[at] = batch["probability"].to_numpy(dtype=np.float64, na_value=np.nan)
            flagged[at] = batch["prediction"].to_numpy(dtype=np.int64) == 1
            words = batch["risk_band"].astype("str")
            band[at] = pd.Index(list(bands)).get_indexer(pd.Index(words))
            unknown |= {str(word) for word in words[band[at] < 0].unique()}
            if versioned:
                versions |= {str(version) for version in batch["model_version"].dropna().unique()}
            texts = as_text(batch[name])
            hashes, there = hashes_of(texts), texts.notna().to_numpy(bool)
            ids.add(hashes[there])
            with_id += int(there.sum())
            if known is not None and truth is not None:
                truth[at] = np.where(there, known.of(texts, hashes), UNKNOWN)
        suspects = ids.suspects()
    return ScoredAccounts(
        probability,
        flagged,
        band,
        sorted(unknown),
        unique=with_id - _repeats(predictions, name, suspects),
        versions=sorted(versions),
        truth=truth,
        outcomes=0 if known is None else known.rows,
    )


def _repeats(predictions: Table, name: str, hashes: NDArray[np.uint64]) -> int:
    """Count the rows whose id occurred before; reads the ids again and compares those with equal hashes as text."""
    if not len(hashes):
        return 0
    found: set[str] = set()
    rows = 0
    for batch in predictions.batches([name]):
        texts = as_text(batch[name])
        again = texts[np.isin(hashes_of(texts), hashes) & texts.notna().to_numpy(bool)]
        rows += len(again)
        found.update(again)
    return rows - len(found)


class DatedOutcomes:
    """Outcomes of accounts as of a date, with ids of `churn.tables.ids.dated_ids`; implements `churn.tables.Batches`."""

    def __init__(self, batches: Batches, schema: AccountSchema) -> None:
        """Set the outcomes, which have a column ``as_of``, and the schema of the account table.

        Raises:
            AccountsError: If a column is missing.
        """
        check_outcome_columns(batches.columns, schema)
        if AS_OF not in batches.columns:
            fault = (
                f"missing columns: {AS_OF}; an account may be asked for on several days, so each outcome needs the date of "
                f"the values that were scored; the table has: {', '.join(batches.columns)}"
            )
            raise AccountsError(OUTCOMES, [fault])
        self._batches, self._schema = batches, schema

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return list(self._batches.columns)

    def __iter__(self) -> Iterator[pd.DataFrame]:
        """Iterate over the rows.

        Raises:
            AccountsError: If a date is none.
        """
        before, faulty, example = 0, list[int](), ""
        for batch in self._batches:
            dates = as_text(batch[AS_OF])
            wrong = ~dates.str.fullmatch(_DATE).fillna(False).to_numpy(bool)
            wrong[~wrong] = pd.to_datetime(dates[~wrong], format="%Y-%m-%d", errors="coerce").isna()
            if wrong.any():
                example = example or str(dates[wrong].iloc[0])
                faulty += (np.flatnonzero(wrong) + before + 1).tolist()
            before += len(batch)
            yield batch.assign(**{self._schema.id: dated_ids(as_text(batch[self._schema.id]), dates)})
        if faulty:
            shown = ", ".join(map(str, faulty[:5]))
            fault = (
                f"{AS_OF}: {len(faulty):,} values are no dates like 2026-01-31, for example {quoted(example)} (row {shown}"
                f"{', ...' if len(faulty) > 5 else ''}); write the date of the values that were scored"
            )
            raise AccountsError(OUTCOMES, [fault])

    def only(self, names: Iterable[str]) -> "DatedOutcomes":
        """Return the rows of some files."""
        return DatedOutcomes(self._batches.only(names), self._schema)


class _Outcomes:
    """Outcomes by two hashes of each id, together 96 bits: among many millions of ids, two may share the same 64 bits."""

    def __init__(self, batches: Batches, schema: AccountSchema) -> None:
        """Read and check the outcomes.

        Raises:
            AccountsError: Lists every fault.
        """
        check_outcome_columns(batches.columns, schema)
        found = OutcomeRows()
        first, second, values = np.empty(0, np.uint64), np.empty(0, np.uint32), np.empty(0, np.int8)
        with RepeatedIds() as seen:
            for batch in batches:
                ids, outcome = found.check_batch(batch, schema)
                hashes = hashes_of(ids)
                seen.add(hashes[ids.notna().to_numpy(bool)])
                # Resized in place: the memory of many short arrays would not be returned to the system.
                for array, more in ((first, hashes), (second, second_hashes_of(ids)), (values, outcome)):
                    array.resize(found.rows, refcheck=False)
                    array[found.rows - len(ids) :] = more
            again = seen.suspects()
        found.raise_faults(repetitions(batches, schema.id, again), schema)
        self.rows = found.rows
        order = np.argsort(first)
        first.sort()
        self._first, self._second, self._values = first, second[order], values[order]
        # Different ids with the same hash are distinguished by their text.
        self._alike = again
        self._by_text: dict[str, int] = {}
        for batch in batches if len(again) else ():
            ids, outcome = found.check_batch(batch, schema)
            of_these = np.isin(hashes_of(ids), again)
            self._by_text |= dict(zip(ids[of_these], outcome[of_these].tolist(), strict=True))

    def of(self, ids: pd.Series, hashes: NDArray[np.uint64]) -> NDArray[np.int8]:
        """Return the outcome of each id, shape (n,)."""
        if not len(self._first):
            return np.full(len(ids), UNKNOWN, np.int8)
        at = np.minimum(np.searchsorted(self._first, hashes), len(self._first) - 1)
        same = (self._first[at] == hashes) & (self._second[at] == second_hashes_of(ids))
        outcome = np.where(same, self._values[at], UNKNOWN).astype(np.int8)
        if len(self._alike):
            alike = np.isin(hashes, self._alike)
            outcome[alike] = [self._by_text.get(text, UNKNOWN) for text in ids[alike]]
        return outcome
