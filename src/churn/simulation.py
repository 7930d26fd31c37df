"""Simulated account tables and their known truth.

A table is a snapshot of one population of accounts, drawn in blocks of rows. Because the probability of churn of
every account is known, a model can be judged against the best that any model could do (the oracle), which no real
table allows.

The churn model, the population and what is missing are described in ``docs/data_generation.md``. In short:

* The **columns** come from a few latent traits of an account (size, engagement, growth), so that they are correlated
  and skewed.
* The **probability of churn** is logistic in effects of the complete columns, see `churn_probability`. Its intercept
  is fixed by a calibration sample of the undrifted population, never by the snapshot: two snapshots with the same
  base rate share one churn model, and drift may move their churn rate.
* **Missing values** are set after the outcome was drawn: they hide information and change nothing else.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final, NamedTuple, cast

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from churn.errors import ChurnError
from churn.parameters import Simulation

Floats = NDArray[np.float32]
Counts = NDArray[np.int16]
Codes = NDArray[np.int8]
Flags = NDArray[np.bool_]

INDUSTRIES: Final = ("green", "cleaning", "contracting", "construction", "other")
COUNTRIES: Final = ("au", "ca", "de", "fr", "in", "ir", "mx", "nz", "sa", "sp", "uk", "us")
TRENDS: Final = ("up", "flat", "down")
CATEGORIES: Final = {"industry_category": INDUSTRIES, "operating_country": COUNTRIES, "revenue_trend": TRENDS}

MAX_USERS: Final = 150
MAX_LOGINS: Final = 1500
MAX_TENURE: Final = 72
MAX_PAYMENT_METHODS: Final = 5
RANGES: Final[dict[str, tuple[float, float]]] = {
    "total_users_count": (1, MAX_USERS),
    "active_users_count": (1, MAX_USERS),
    "login_count_p1m": (1, MAX_LOGINS),
    "invoices_p1m_vs_prev_month_ratio": (-1, 3),
    "p1m_tenure_since_conversion": (0, MAX_TENURE),
    "payment_methods_active_count": (0, MAX_PAYMENT_METHODS),
    "payments_p1m_vs_prev_month_ratio": (-1, 2),
    "quotes_p1m_vs_prev_month_ratio": (-1, 3),
    "visits_p1m_vs_prev_month_ratio": (-1, 3),
}
"""Smallest and largest value of each numeric column. A ratio of -1 means that nothing is left of last month."""

RATIOS: Final = tuple(name for name in RANGES if name.endswith("_ratio"))

MISSING_MULTIPLES: Final = {
    "invoices_p1m_vs_prev_month_ratio": 1.25,
    "payments_p1m_vs_prev_month_ratio": 1.25,
    "quotes_p1m_vs_prev_month_ratio": 1.5,
    "visits_p1m_vs_prev_month_ratio": 1.5,
    "login_count_p1m": 0.5,
    "payment_methods_active_count": 0.5,
    "industry_category": 0.5,
}
"""Missing share of each column as a multiple of ``simulation.missing_share``; the multiples average 1."""

# A ratio needs a prior month. These are added to the log-odds of a missing ratio.
_MISSING_NEW_ACCOUNT: Final = 1.5  # tenure of 0 or 1 months
_MISSING_SMALL_ACCOUNT: Final = 0.7  # at most 3 users
_MISSING_DRIFT: Final = 0.5  # times the drift, in every column of the table above

# Shares in 1/1024, so that a category is one look-up of ten random bits.
_INDUSTRY_SHARES: Final = (307, 256, 205, 154, 102)
_INDUSTRY_SIZES: Final = (0.0, -0.1, 0.1, 0.3, -0.1)  # added to the logarithm of the team's size
_COUNTRY_SHARES: Final = (113, 143, 41, 31, 51, 20, 41, 31, 26, 31, 123, 373)
_COUNTRY_SHARES_DRIFTED: Final = (61, 82, 62, 52, 194, 20, 113, 20, 62, 72, 82, 204)

# Effects on the log-odds of churn, in the order of the categories.
_INDUSTRY_EFFECTS: Final = (-0.2, 0.3, 0.0, -0.3, 0.3)
_COUNTRY_EFFECTS: Final = (-0.2, -0.2, 0.0, 0.1, 0.5, 0.1, 0.4, -0.1, 0.3, 0.3, 0.0, -0.1)
_TREND_EFFECTS: Final = (-0.2, 0.0, 0.3)

# Small enough for the temporaries of a block to stay in the processor's cache, large enough to hide NumPy's overhead.
_BLOCK_ROWS: Final = 32_768
_CALIBRATION_ROWS: Final = 262_144
_CALIBRATION_SEED: Final = 20_240_229


class SimulatedAccounts(NamedTuple):
    """A simulated snapshot of n accounts.

    Attributes:
        accounts: The account table without its label, n rows. Categories are categorical; the counts that can be
            missing are nullable ``Int16``, other counts ``int16`` or ``int8``; ratios are ``float32``.
        probability: True probability of churn of each account, shape (n,).
        churned: The outcome drawn with that probability, shape (n,).
    """

    accounts: pd.DataFrame
    probability: NDArray[np.float64]
    churned: Flags


class _Columns(NamedTuple):
    """Complete columns of some accounts; each array has one value an account. Categories are codes."""

    industry: Codes
    total_users: Counts
    active_users: Counts
    logins: Counts
    country: Codes
    invoices: Floats
    tenure: Codes
    payment_methods: Codes
    payments: Floats
    quotes: Floats
    visits: Floats
    trend: Codes


class _Calibration(NamedTuple):
    """What is solved on the calibration sample."""

    log_odds: NDArray[np.float64]  # of churn without intercept, (_CALIBRATION_ROWS,)
    group_shares: NDArray[np.float64]  # shares of the groups that differ in missing ratios, (4,)


def simulate_accounts(rows: int, seed: int, simulation: Simulation, drift: float = 0.0) -> SimulatedAccounts:
    """Draw a snapshot of accounts, their probabilities of churn and their outcomes.

    The same arguments give the same bytes (with one version of NumPy on one kind of processor). Snapshots of one seed
    and different sizes may share some of their accounts.

    Args:
        rows: Number of accounts n.
        seed: Seed of the snapshot.
        simulation: ``signal``, ``base_rate`` and ``missing_share`` are used.
        drift: Shift of the population, 0 (none) to 1 (strong). The churn model stays the same. Ignored where the
            signal is ``none``.

    Returns:
        The accounts with the columns and domains of the account table, their true probabilities and outcomes.

    Raises:
        ChurnError: ``rows`` is not positive or ``drift`` is not between 0 and 1.
    """
    if rows < 1:
        raise ChurnError(f"rows = {rows}: the number of accounts to simulate must be at least 1")
    if not 0.0 <= drift <= 1.0:
        raise ChurnError(f"drift = {drift}: expected a strength between 0 (none) and 1 (strong)")
    realistic = simulation.signal == "realistic"
    intercept = _intercept(simulation.base_rate) if realistic else 0.0
    missing_chances = _missing_chances(simulation.missing_share, drift) if realistic else {}

    columns = _empty_columns(rows)
    missing = {name: np.zeros(rows, dtype=np.bool_) for name in ("login_count_p1m", "payment_methods_active_count")}
    id_text = np.empty((rows, 36), dtype=np.uint8)
    probability = np.full(rows, 0.5)
    churned = np.empty(rows, dtype=np.bool_)

    for block, rng in _blocks(rows, np.random.SeedSequence(seed)):
        length = block.stop - block.start
        _write_uuids(rng, id_text[block])
        drawn = _draw_columns(rng, length, drift) if realistic else _draw_uniform_columns(rng, length)
        if realistic:
            probability[block] = _probability(_log_odds(drawn), intercept)
        churned[block] = rng.random(length) < probability[block]
        for name in _Columns._fields:
            getattr(columns, name)[block] = getattr(drawn, name)
        groups = _missing_groups(drawn)
        for name, chances in missing_chances.items():
            hidden = rng.random(length, dtype=np.float32) < chances[groups]
            if name in missing:
                missing[name][block] = hidden
            elif name == "industry_category":
                columns.industry[block][hidden] = -1
            else:
                _ratios(columns)[name][block][hidden] = np.nan
    return SimulatedAccounts(_frame(columns, id_text, missing), probability, churned)


def churn_probability(accounts: pd.DataFrame, base_rate: float) -> NDArray[np.float64]:
    """True probability of churn of complete accounts.

    The log-odds are an intercept plus the effects below. ``share`` is active over total users; ``logins`` are logins
    per active user in the past month; months are tenure; ``tanh`` lets the effect of a ratio saturate.

    ===================  ===========================================================================================
    tenure               ``-1.5 months / (months + 18)``, ``+0.9 exp(-((months - 12) / 2)² / 2)`` (first renewal)
    activity             ``-2.2 min(share, 0.8)``, ``+0.5`` where share is below 0.25
    logins               ``-0.5 log(min(logins, 30))``
    invoices             ``-0.7 tanh(invoices / 0.4)``
    payments             ``-0.7 tanh(payments / 0.4)``
    visits, quotes       ``-0.4 tanh(visits / 0.5)``, ``-0.3 tanh(quotes / 0.6)``
    payment methods      ``-0.25 min(methods, 3)``, ``+0.4`` where there is none
    size                 ``+0.3`` for a single user
    trend, industry,     one effect for each category: ``_TREND_EFFECTS``, ``_INDUSTRY_EFFECTS``,
    country              ``_COUNTRY_EFFECTS``
    activity x tenure    ``+1.2 (0.8 - min(share, 0.8)) exp(-months / 12)``
    payments x methods   ``+0.8`` where payments are below -0.1 and methods are at most 1
    ===================  ===========================================================================================

    The intercept makes the mean probability of a fixed sample of the undrifted population equal ``base_rate``.

    Args:
        accounts: Accounts with all columns of the account table; the id and further columns are ignored. n rows.
        base_rate: Share of accounts that churn on average in the undrifted population, between 0 and 1.

    Returns:
        Probabilities, shape (n,).

    Raises:
        ChurnError: A column or a value is missing, out of range or an unknown category.
    """
    return _probability(_log_odds(_columns_of(accounts)), _intercept(base_rate))


# --- the churn model --------------------------------------------------------------------------------------------


def _log_odds(columns: _Columns) -> Floats:
    """Sum of the effects documented at `churn_probability`, without intercept."""
    months = columns.tenure.astype(np.float32)
    active = columns.active_users.astype(np.float32)
    share = active / columns.total_users
    used = np.minimum(share, 0.8)
    logins = np.minimum(columns.logins / active, 30.0)
    methods = columns.payment_methods

    odds = _by_code(_TREND_EFFECTS, columns.trend)
    odds += _by_code(_INDUSTRY_EFFECTS, columns.industry)
    odds += _by_code(_COUNTRY_EFFECTS, columns.country)
    odds += _tenure_effects()[columns.tenure]
    odds -= 2.2 * used
    odds += 0.5 * (share < 0.25)
    odds -= 0.5 * np.log(logins)
    odds -= 0.7 * np.tanh(columns.invoices / 0.4)
    odds -= 0.7 * np.tanh(columns.payments / 0.4)
    odds -= 0.4 * np.tanh(columns.visits / 0.5)
    odds -= 0.3 * np.tanh(columns.quotes / 0.6)
    odds += _by_code((0.4, -0.25, -0.5, -0.75, -0.75, -0.75), methods)
    odds += 0.3 * (columns.total_users == 1)
    odds += 1.2 * (0.8 - used) * np.exp(-months / 12.0)
    odds += 0.8 * ((columns.payments < -0.1) & (methods <= 1))
    return odds


@lru_cache(maxsize=1)
def _tenure_effects() -> Floats:
    months = np.arange(MAX_TENURE + 1, dtype=np.float64)
    renewal = 0.9 * np.exp(-0.5 * ((months - 12.0) / 2.0) ** 2)
    return (renewal - 1.5 * months / (months + 18.0)).astype(np.float32)


def _probability(log_odds: NDArray[np.floating], intercept: float) -> NDArray[np.float64]:
    return 1.0 / (1.0 + np.exp(-(log_odds.astype(np.float64) + intercept)))


@lru_cache(maxsize=1)
def _calibration() -> _Calibration:
    """The calibration sample: one fixed draw of the undrifted population, the same for every snapshot."""
    log_odds = np.empty(_CALIBRATION_ROWS)
    counts = np.zeros(4)
    for block, rng in _blocks(_CALIBRATION_ROWS, np.random.SeedSequence(_CALIBRATION_SEED)):
        drawn = _draw_columns(rng, block.stop - block.start, drift=0.0)
        log_odds[block] = _log_odds(drawn)
        counts += np.bincount(_missing_groups(drawn), minlength=4)
    return _Calibration(log_odds, counts / _CALIBRATION_ROWS)


@lru_cache(maxsize=64)
def _intercept(base_rate: float) -> float:
    """Intercept at which the mean probability of the calibration sample is ``base_rate``."""
    sample = _calibration().log_odds
    return _solve_shift(sample, np.full(sample.size, 1.0 / sample.size), base_rate)


def _solve_shift(log_odds: NDArray[np.float64], weights: NDArray[np.float64], mean: float) -> float:
    """Find the shift of log-odds at which their weighted mean probability is ``mean``.

    Newton's method, kept inside a bracket that is known to hold the root: the mean rises with the shift, and one that
    carries all log-odds beyond ``logit(mean)`` is a bound.

    Args:
        log_odds: Log-odds, shape (n,).
        weights: Weights that sum to 1, shape (n,).
        mean: Probability between 0 and 1, both excluded.

    Returns:
        The shift, to about 1e-12.
    """
    target = np.log(mean / (1.0 - mean))
    low, high = float(target - log_odds.max()), float(target - log_odds.min())
    shift = float(target - weights @ log_odds)
    for _ in range(50):
        probability = _probability(log_odds, shift)
        excess = float(weights @ probability) - mean
        slope = float(weights @ (probability * (1.0 - probability)))
        low, high = (low, shift) if excess > 0 else (shift, high)
        following = shift - excess / slope if slope > 0 else np.inf
        if not low <= following <= high:
            following = 0.5 * (low + high)
        if abs(following - shift) < 1e-12:
            return following
        shift = following
    return shift


# --- the population ---------------------------------------------------------------------------------------------


def _draw_columns(rng: np.random.Generator, rows: int, drift: float) -> _Columns:
    """Draw complete columns of accounts.

    Three latent traits correlate them: the size of the team (lognormal, larger
    for older accounts and in construction), engagement (activity, logins, growth) and
    growth (all four ratios and through them the trend). Ratios are ``exp(x) - 1`` of a normal ``x`` whose scale is
    itself lognormal, and larger for small teams: heavy tails around 0 that never fall below -1.

    Args:
        rng: Source of randomness.
        rows: Number of accounts n.
        drift: Strength of the shift, 0 to 1: lower engagement, falling invoices and payments, younger accounts, other
            countries.

    Returns:
        Columns of shape (n,).
    """

    def normal() -> Floats:
        return rng.standard_normal(rows, dtype=np.float32)

    industry = _draw_codes(rng, rows, _INDUSTRY_SHARES)
    mix = np.asarray(_COUNTRY_SHARES) * (1.0 - drift) + np.asarray(_COUNTRY_SHARES_DRIFTED) * drift
    country = _draw_codes(rng, rows, mix)

    # Truncated exponential by its inverse, so that no accounts pile up at the last month.
    mean_months = 24.0 - 6.0 * drift
    cut = -np.expm1(-(MAX_TENURE + 1) / mean_months)
    months = -mean_months * np.log1p(-cut * rng.random(rows, dtype=np.float32))
    tenure = np.minimum(months, MAX_TENURE).astype(np.int8)

    size = normal()
    total_users = _counts(
        np.exp(1.75 + 1.05 * size + 0.008 * months + _by_code(_INDUSTRY_SIZES, industry)), 1, MAX_USERS
    )
    total = total_users.astype(np.float32)
    engagement = normal()
    inactive = np.exp(-(0.75 - 0.6 * drift + engagement + 0.7 * normal() - 0.15 * size))
    active_users = np.minimum(_counts(total / (1.0 + inactive), 1, MAX_USERS), total_users)
    active = active_users.astype(np.float32)
    habit = np.exp(2.3 - 0.3 * drift + 0.35 * engagement + 0.7 * normal())
    logins = _counts(active * habit, 1, MAX_LOGINS)

    methods = np.clip(np.rint(1.6 + 0.5 * size + normal()), 0, MAX_PAYMENT_METHODS).astype(np.int8)

    scale = np.exp(0.4 * normal()) * (0.2 + 0.15 / np.sqrt(active))
    growth = 0.35 * engagement + 0.94 * normal()
    own_visits, own_invoices = normal(), normal()
    falling = 0.12 * drift
    quotes = _ratio(1.3 * scale * (0.6 * growth + 0.8 * normal()), "quotes_p1m_vs_prev_month_ratio")
    visits = _ratio(scale * (0.6 * growth + 0.8 * own_visits), "visits_p1m_vs_prev_month_ratio")
    invoices = _ratio(
        scale * (0.55 * growth + 0.3 * own_visits + 0.78 * own_invoices) - falling, "invoices_p1m_vs_prev_month_ratio"
    )
    payments = _ratio(
        scale * (0.5 * growth + 0.35 * own_invoices + 0.79 * normal()) - falling, "payments_p1m_vs_prev_month_ratio"
    )
    revenue = 0.5 * (invoices + payments) + 0.12 * normal()
    trend = (revenue < 0.06).astype(np.int8) + (revenue < -0.06)

    return _Columns(
        industry, total_users, active_users, logins, country, invoices, tenure, methods, payments, quotes, visits, trend
    )


def _draw_uniform_columns(rng: np.random.Generator, rows: int) -> _Columns:
    """Draw columns that are uniform over their domains and tell nothing about each other or about churn."""

    def ratio(name: str) -> Floats:
        top = int(10_000 * RANGES[name][1])
        steps = rng.integers(-10_000, top, size=rows, dtype=np.int16, endpoint=True)
        return steps.astype(np.float32) / np.float32(10_000)

    def codes(maximum: int) -> Codes:
        return rng.integers(0, maximum, size=rows, dtype=np.int8, endpoint=True)

    total_users = rng.integers(1, MAX_USERS, size=rows, dtype=np.int16, endpoint=True)
    return _Columns(
        industry=codes(len(INDUSTRIES) - 1),
        total_users=total_users,
        active_users=rng.integers(1, total_users, dtype=np.int16, endpoint=True),
        logins=rng.integers(1, MAX_LOGINS, size=rows, dtype=np.int16, endpoint=True),
        country=codes(len(COUNTRIES) - 1),
        invoices=ratio("invoices_p1m_vs_prev_month_ratio"),
        tenure=codes(MAX_TENURE),
        payment_methods=codes(MAX_PAYMENT_METHODS),
        payments=ratio("payments_p1m_vs_prev_month_ratio"),
        quotes=ratio("quotes_p1m_vs_prev_month_ratio"),
        visits=ratio("visits_p1m_vs_prev_month_ratio"),
        trend=codes(len(TRENDS) - 1),
    )


def _draw_codes(rng: np.random.Generator, rows: int, shares: tuple[int, ...] | NDArray[np.float64]) -> Codes:
    """Draw category codes with shares in 1/1024."""
    edges = np.cumsum(np.asarray(shares, dtype=np.float64))
    table = np.searchsorted(edges, np.arange(1024) + 0.5, side="right").astype(np.int8)
    bits = rng.integers(0, 2**16, size=rows, dtype=np.uint16)
    return cast(Codes, table[bits & 1023])


def _by_code(values: tuple[float, ...], codes: Codes) -> Floats:
    return np.asarray(values, dtype=np.float32)[codes]


def _counts(values: Floats, minimum: int, maximum: int) -> Counts:
    return cast(Counts, np.clip(np.rint(values), minimum, maximum).astype(np.int16))


def _ratio(log_change: Floats, name: str) -> Floats:
    """Ratio to the month before, within its range and with 4 decimals.

    The quotient of a whole number and 10,000 is the ``float32`` nearest to the decimal, which therefore prints with at
    most 4 decimals.
    """
    steps = np.rint(np.expm1(log_change) * np.float32(10_000))
    np.clip(steps, -10_000, 10_000 * RANGES[name][1], out=steps)
    return cast(Floats, steps / np.float32(10_000))


# --- missing values ---------------------------------------------------------------------------------------------


def _missing_groups(columns: _Columns) -> NDArray[np.intp]:
    """Group of each account among those that differ in missing ratios: 2 x (tenure 0-1) + (at most 3 users)."""
    return 2 * (columns.tenure <= 1).astype(np.intp) + (columns.total_users <= 3)


def _missing_chances(missing_share: float, drift: float) -> dict[str, Floats]:
    """Chance that a value is missing, by column and group of accounts (see `_missing_groups`), each of shape (4,).

    Solved so that the mean over the undrifted population is the column's multiple of ``missing_share``.
    """
    if missing_share < 1e-6:  # finer than a draw of 24 bits can tell
        return {}
    shares = _calibration().group_shares
    by_group = np.asarray([0.0, 1.0, 0.0, 1.0]) * _MISSING_SMALL_ACCOUNT
    by_group += np.asarray([0.0, 0.0, 1.0, 1.0]) * _MISSING_NEW_ACCOUNT
    chances = {}
    for name, multiple in MISSING_MULTIPLES.items():
        log_odds = by_group if name in RATIOS else np.zeros(4)
        shift = _solve_shift(log_odds, shares, missing_share * multiple)
        chances[name] = _probability(log_odds, shift + _MISSING_DRIFT * drift).astype(np.float32)
    return chances


# --- blocks, ids and frames -------------------------------------------------------------------------------------


def _blocks(rows: int, seed: np.random.SeedSequence) -> Iterator[tuple[slice, np.random.Generator]]:
    """Blocks of rows, each with a random stream of its own."""
    starts = range(0, rows, _BLOCK_ROWS)
    for start, child in zip(starts, seed.spawn(len(starts)), strict=True):
        yield slice(start, min(start + _BLOCK_ROWS, rows)), np.random.Generator(np.random.SFC64(child))


def _empty_columns(rows: int) -> _Columns:
    kinds: dict[str, type[np.generic]] = dict.fromkeys(_Columns._fields, np.int8)
    kinds |= dict.fromkeys(("total_users", "active_users", "logins"), np.int16)
    kinds |= dict.fromkeys(("invoices", "payments", "quotes", "visits"), np.float32)
    return _Columns(**{name: np.empty(rows, dtype=kind) for name, kind in kinds.items()})


def _ratios(columns: _Columns) -> dict[str, Floats]:
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


def _write_uuids(rng: np.random.Generator, out: NDArray[np.uint8]) -> None:
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


def _frame(columns: _Columns, id_text: NDArray[np.uint8], missing: dict[str, Flags]) -> pd.DataFrame:
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


def _columns_of(accounts: pd.DataFrame) -> _Columns:
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

    return _Columns(
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
