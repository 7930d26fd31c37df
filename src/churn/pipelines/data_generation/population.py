"""The simulated population: its columns, and how they are drawn."""

from typing import Final, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

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

# Shares in 1/1024, so that a category is one look-up of ten random bits.
_INDUSTRY_SHARES: Final = (307, 256, 205, 154, 102)
_INDUSTRY_SIZES: Final = (0.0, -0.1, 0.1, 0.3, -0.1)  # added to the logarithm of the team's size
_COUNTRY_SHARES: Final = (113, 143, 41, 31, 51, 20, 41, 31, 26, 31, 123, 373)
_COUNTRY_SHARES_DRIFTED: Final = (61, 82, 62, 52, 194, 20, 113, 20, 62, 72, 82, 204)


class Columns(NamedTuple):
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


def draw_columns(rng: np.random.Generator, rows: int, drift: float) -> Columns:
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
        np.exp(1.75 + 1.05 * size + 0.008 * months + by_code(_INDUSTRY_SIZES, industry)), 1, MAX_USERS
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

    return Columns(
        industry, total_users, active_users, logins, country, invoices, tenure, methods, payments, quotes, visits, trend
    )


def draw_uniform_columns(rng: np.random.Generator, rows: int) -> Columns:
    """Draw columns that are uniform over their domains and tell nothing about each other or about churn."""

    def ratio(name: str) -> Floats:
        top = int(10_000 * RANGES[name][1])
        steps = rng.integers(-10_000, top, size=rows, dtype=np.int16, endpoint=True)
        return steps.astype(np.float32) / np.float32(10_000)

    def codes(maximum: int) -> Codes:
        return rng.integers(0, maximum, size=rows, dtype=np.int8, endpoint=True)

    total_users = rng.integers(1, MAX_USERS, size=rows, dtype=np.int16, endpoint=True)
    return Columns(
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


def by_code(values: tuple[float, ...], codes: Codes) -> Floats:
    """The value that belongs to each code, shape (n,)."""
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
