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

from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn.config import Simulation
from churn.errors import ChurnError
from churn.pipelines.data_generation.frames import as_frame, blocks, columns_of, empty_columns, ratios_of, write_uuids
from churn.pipelines.data_generation.intervention import Effects, call_effects, kind_shares
from churn.pipelines.data_generation.population import (
    MAX_TENURE,
    RATIOS,
    Columns,
    Flags,
    Floats,
    by_code,
    draw_columns,
    draw_uniform_columns,
)

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

# Effects on the log-odds of churn, in the order of the categories.
_INDUSTRY_EFFECTS: Final = (-0.2, 0.3, 0.0, -0.3, 0.3)
_COUNTRY_EFFECTS: Final = (-0.2, -0.2, 0.0, 0.1, 0.5, 0.1, 0.4, -0.1, 0.3, 0.3, 0.0, -0.1)
_TREND_EFFECTS: Final = (-0.2, 0.0, 0.3)
_CALIBRATION_ROWS: Final = 262_144
_CALIBRATION_SEED: Final = 20_240_229


class SimulatedAccounts(NamedTuple):
    """A simulated snapshot of n accounts.

    Attributes:
        accounts: The account table without its label, n rows. Categories are categorical; the counts that can be
            missing are nullable ``Int16``, other counts ``int16`` or ``int8``; ratios are ``float32``.
        probability: True probability of churn of each account, shape (n,).
        churned: The outcome drawn with that probability, shape (n,).
        effects: What a conversation would change; None unless `simulation.intervention` is enabled.
    """

    accounts: pd.DataFrame
    probability: NDArray[np.float64]
    churned: Flags
    effects: Effects | None = None


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

    columns = empty_columns(rows)
    missing = {name: np.zeros(rows, dtype=np.bool_) for name in ("login_count_p1m", "payment_methods_active_count")}
    id_text = np.empty((rows, 36), dtype=np.uint8)
    probability = np.full(rows, 0.5)
    churned = np.empty(rows, dtype=np.bool_)
    shares = np.empty((rows, 4)) if realistic and simulation.intervention.enabled else None

    for block, rng in blocks(rows, np.random.SeedSequence(seed)):
        length = block.stop - block.start
        write_uuids(rng, id_text[block])
        drawn = draw_columns(rng, length, drift) if realistic else draw_uniform_columns(rng, length)
        if realistic:
            probability[block] = _probability(_log_odds(drawn), intercept)
        churned[block] = rng.random(length) < probability[block]
        if shares is not None:
            shares[block] = kind_shares(drawn, simulation.intervention)
        for name in Columns._fields:
            getattr(columns, name)[block] = getattr(drawn, name)
        groups = _missing_groups(drawn)
        for name, chances in missing_chances.items():
            hidden = rng.random(length, dtype=np.float32) < chances[groups]
            if name in missing:
                missing[name][block] = hidden
            elif name == "industry_category":
                columns.industry[block][hidden] = -1
            else:
                ratios_of(columns)[name][block][hidden] = np.nan
    frame = as_frame(columns, id_text, missing)
    effects = None
    if shares is not None:
        effects = call_effects(shares, frame["account_id"], probability, simulation.intervention)
    return SimulatedAccounts(frame, probability, churned, effects)


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
    return _probability(_log_odds(columns_of(accounts)), _intercept(base_rate))


def _log_odds(columns: Columns) -> Floats:
    """Sum of the effects documented at `churn_probability`, without intercept."""
    months = columns.tenure.astype(np.float32)
    active = columns.active_users.astype(np.float32)
    share = active / columns.total_users
    used = np.minimum(share, 0.8)
    logins = np.minimum(columns.logins / active, 30.0)
    methods = columns.payment_methods

    odds = by_code(_TREND_EFFECTS, columns.trend)
    odds += by_code(_INDUSTRY_EFFECTS, columns.industry)
    odds += by_code(_COUNTRY_EFFECTS, columns.country)
    odds += _tenure_effects()[columns.tenure]
    odds -= 2.2 * used
    odds += 0.5 * (share < 0.25)
    odds -= 0.5 * np.log(logins)
    odds -= 0.7 * np.tanh(columns.invoices / 0.4)
    odds -= 0.7 * np.tanh(columns.payments / 0.4)
    odds -= 0.4 * np.tanh(columns.visits / 0.5)
    odds -= 0.3 * np.tanh(columns.quotes / 0.6)
    odds += by_code((0.4, -0.25, -0.5, -0.75, -0.75, -0.75), methods)
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
    for block, rng in blocks(_CALIBRATION_ROWS, np.random.SeedSequence(_CALIBRATION_SEED)):
        drawn = draw_columns(rng, block.stop - block.start, drift=0.0)
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


def _missing_groups(columns: Columns) -> NDArray[np.intp]:
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
