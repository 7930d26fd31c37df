"""Blocks of simulated rows, their ids, and the frame that they become."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from churn.errors import ChurnError
from churn.pipelines.data_generation.population import CATEGORIES, RANGES, Codes, Columns, Flags, Floats

# Small enough for the temporaries of a block to stay in the processor's cache, large enough to hide NumPy's overhead.
_BLOCK_ROWS: Final = 32_768


def blocks(rows: int, seed: np.random.SeedSequence) -> Iterator[tuple[slice, np.random.Generator]]:
    """Yield blocks of rows, each with a random generator of its own, so that a block can be drawn by itself."""
    starts = range(0, rows, _BLOCK_ROWS)
    for start, child in zip(starts, seed.spawn(len(starts)), strict=True):
        yield slice(start, min(start + _BLOCK_ROWS, rows)), np.random.Generator(np.random.SFC64(child))


def empty_columns(rows: int) -> Columns:
    """Columns of so many rows, not filled in yet."""
    kinds: dict[str, type[np.generic]] = dict.fromkeys(Columns._fields, np.int8)
    kinds |= dict.fromkeys(("total_users", "active_users", "logins"), np.int16)
    kinds |= dict.fromkeys(("invoices", "payments", "quotes", "visits"), np.float32)
    return Columns(**{name: np.empty(rows, dtype=kind) for name, kind in kinds.items()})


def ratios_of(columns: Columns) -> dict[str, Floats]:
    """The ratios among the columns, by their names in the account table."""
    return {
        "invoices_p1m_vs_prev_month_ratio": columns.invoices,
        "payments_p1m_vs_prev_month_ratio": columns.payments,
        "quotes_p1m_vs_prev_month_ratio": columns.quotes,
        "visits_p1m_vs_prev_month_ratio": columns.visits,
    }


@lru_cache(maxsize=1)
def _hexadecimal() -> NDArray[np.uint32]:
    """The four hexadecimal digits of every 16-bit number as the four bytes of an element, shape (65536,)."""
    digits = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)
    numbers = np.arange(2**16, dtype=np.uint32)
    return np.stack([digits[(numbers >> shift) & 15] for shift in (12, 8, 4, 0)], axis=1).view(np.uint32)[:, 0]


def write_uuids(rng: np.random.Generator, out: NDArray[np.uint8]) -> None:
    """Write random UUIDs (RFC 9562, version 4) as text into ``out``, shape (n, 36)."""
    words = rng.integers(0, 2**16, size=(8, len(out)), dtype=np.uint16)
    words[3] = (words[3] & 0x0FFF) | 0x4000  # version 4
    words[4] = (words[4] & 0x3FFF) | 0x8000  # variant 10
    text = np.dtype(
        {
            "names": [*"abcdefgh", *"wxyz"],
            "formats": [np.uint32] * 8 + [np.uint8] * 4,
            "offsets": [0, 4, 9, 14, 19, 24, 28, 32, 8, 13, 18, 23],
            "itemsize": 36,
        }
    )
    fields = out.view(text)[:, 0]
    for name, word in zip("abcdefgh", words, strict=True):
        fields[name] = _hexadecimal()[word]
    for name in "wxyz":
        fields[name] = ord("-")


def _id_array(text: NDArray[np.uint8]) -> pd.api.extensions.ExtensionArray:
    """The rows of ``text``, shape (n, 36), as strings that share its memory."""
    offsets = np.arange(0, text.size + 1, text.shape[1], dtype=np.int64)
    strings = pa.LargeStringArray.from_buffers(len(text), pa.py_buffer(offsets), pa.py_buffer(text))
    shared: pd.api.extensions.ExtensionArray = pd.array(strings, dtype="str")
    return shared


def as_frame(columns: Columns, id_text: NDArray[np.uint8], missing: dict[str, Flags]) -> pd.DataFrame:
    """The account table without its label, see `SimulatedAccounts.accounts`."""

    def category(codes: Codes, name: str) -> pd.Categorical:
        found: pd.Categorical = pd.Categorical.from_codes(codes, categories=pd.Index(CATEGORIES[name], dtype="str"))
        return found

    methods = columns.payment_methods.astype(np.int16)
    return pd.DataFrame(
        {
            "account_id": _id_array(id_text),
            "industry_category": category(columns.industry, "industry_category"),
            "total_users_count": columns.total_users,
            "active_users_count": columns.active_users,
            "login_count_p1m": pd.arrays.IntegerArray(columns.logins, missing["login_count_p1m"]),
            "operating_country": category(columns.country, "operating_country"),
            "invoices_p1m_vs_prev_month_ratio": columns.invoices,
            "p1m_tenure_since_conversion": columns.tenure,
            "payment_methods_active_count": pd.arrays.IntegerArray(methods, missing["payment_methods_active_count"]),
            "payments_p1m_vs_prev_month_ratio": columns.payments,
            "quotes_p1m_vs_prev_month_ratio": columns.quotes,
            "visits_p1m_vs_prev_month_ratio": columns.visits,
            "revenue_trend": category(columns.trend, "revenue_trend"),
        },
        copy=False,
    )


def columns_of(accounts: pd.DataFrame) -> Columns:
    """Take the columns from a frame of complete accounts."""
    absent = [name for name in (*RANGES, *CATEGORIES) if name not in accounts]
    if absent:
        raise ChurnError(f"accounts: the true probability needs the columns {', '.join(absent)} as well")

    def number(name: str, kind: type[np.generic]) -> NDArray[Any]:
        if accounts[name].isna().any():
            raise ChurnError(f"{name}: values are missing, and the true probability needs the complete accounts")
        low, high = RANGES[name]
        wrong = accounts[name][~accounts[name].between(low, high)]
        if len(wrong):
            raise ChurnError(f"{name}: {wrong.iloc[0]} is not between {low} and {high}")
        return accounts[name].to_numpy(dtype=kind)

    def codes(name: str) -> Codes:
        found = pd.Index(CATEGORIES[name], dtype="str").get_indexer(pd.Index(accounts[name].astype("str")))
        if (found < 0).any():
            wrong = accounts[name].astype("object")[found < 0].iloc[0]
            raise ChurnError(f"{name}: {wrong!r} is not one of {', '.join(CATEGORIES[name])}")
        return found.astype(np.int8)

    return Columns(
        industry=codes("industry_category"),
        total_users=number("total_users_count", np.int16),
        active_users=number("active_users_count", np.int16),
        logins=number("login_count_p1m", np.int16),
        country=codes("operating_country"),
        invoices=number("invoices_p1m_vs_prev_month_ratio", np.float32),
        tenure=number("p1m_tenure_since_conversion", np.int8),
        payment_methods=number("payment_methods_active_count", np.int8),
        payments=number("payments_p1m_vs_prev_month_ratio", np.float32),
        quotes=number("quotes_p1m_vs_prev_month_ratio", np.float32),
        visits=number("visits_p1m_vs_prev_month_ratio", np.float32),
        trend=codes("revenue_trend"),
    )
