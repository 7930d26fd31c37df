"""The simulated account tables: their domains, and that their known truth is one."""

import uuid
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from churn.config import Simulation
from churn.errors import ChurnError
from churn.pipelines.data_generation.population import CATEGORIES, RANGES, RATIOS
from churn.pipelines.data_generation.simulation import (
    MISSING_MULTIPLES,
    SimulatedAccounts,
    churn_probability,
    simulate_accounts,
)

ROWS = 100_000
COLUMNS = [
    "account_id",
    "industry_category",
    "total_users_count",
    "active_users_count",
    "login_count_p1m",
    "operating_country",
    "invoices_p1m_vs_prev_month_ratio",
    "p1m_tenure_since_conversion",
    "payment_methods_active_count",
    "payments_p1m_vs_prev_month_ratio",
    "quotes_p1m_vs_prev_month_ratio",
    "visits_p1m_vs_prev_month_ratio",
    "revenue_trend",
]
TYPICAL_ACCOUNT = {
    "industry_category": "contracting",
    "total_users_count": 10,
    "active_users_count": 6,
    "login_count_p1m": 60,
    "operating_country": "us",
    "invoices_p1m_vs_prev_month_ratio": 0.0,
    "p1m_tenure_since_conversion": 6,
    "payment_methods_active_count": 2,
    "payments_p1m_vs_prev_month_ratio": 0.0,
    "quotes_p1m_vs_prev_month_ratio": 0.0,
    "visits_p1m_vs_prev_month_ratio": 0.0,
    "revenue_trend": "flat",
}


@pytest.fixture(scope="module")
def snapshot() -> SimulatedAccounts:
    return simulate_accounts(ROWS, 31_459, Simulation())


@pytest.fixture(scope="module")
def complete() -> SimulatedAccounts:
    """The accounts of `snapshot` with nothing missing."""
    return simulate_accounts(ROWS, 31_459, Simulation(missing_share=0.0))


@pytest.fixture(scope="module")
def drifted() -> SimulatedAccounts:
    return simulate_accounts(ROWS, 31_459, Simulation(), drift=1.0)


@pytest.fixture(scope="module")
def coin_flips() -> SimulatedAccounts:
    return simulate_accounts(ROWS, 31_459, Simulation(signal="none"))


@pytest.fixture(params=["snapshot", "complete", "drifted", "coin_flips"])
def any_snapshot(request: pytest.FixtureRequest) -> SimulatedAccounts:
    found: SimulatedAccounts = request.getfixturevalue(request.param)
    return found


def log_odds(**changes: Any) -> float:
    """Log-odds of churn of a typical account with some of its columns changed."""
    account = pd.DataFrame([TYPICAL_ACCOUNT | changes])
    probability = churn_probability(account, base_rate=0.12)[0]
    return float(np.log(probability / (1 - probability)))


def population_stability(reference: pd.Series, analysis: pd.Series) -> float:
    share, shifted = (values.value_counts(normalize=True).sort_index() for values in (reference, analysis))
    return float(((shifted - share) * np.log(shifted / share)).sum())


# --- domains ----------------------------------------------------------------------------------------------------


def test_columns_and_their_order(any_snapshot: SimulatedAccounts) -> None:
    assert list(any_snapshot.accounts.columns) == COLUMNS
    assert len(any_snapshot.accounts) == any_snapshot.probability.size == any_snapshot.churned.size == ROWS


@pytest.mark.parametrize("column", RANGES)
def test_numbers_stay_in_their_range(any_snapshot: SimulatedAccounts, column: str) -> None:
    values = any_snapshot.accounts[column].dropna()
    low, high = RANGES[column]
    assert low <= values.min()
    assert values.max() <= high
    if column in RATIOS:
        np.testing.assert_array_equal(values, (values.astype("float64") * 1e4).round().div(1e4).astype("float32"))
    else:
        assert pd.api.types.is_integer_dtype(values)


@pytest.mark.parametrize("column", CATEGORIES)
def test_all_categories_occur_and_no_others(any_snapshot: SimulatedAccounts, column: str) -> None:
    assert set(any_snapshot.accounts[column].dropna()) == set(CATEGORIES[column])


def test_active_users_are_never_more_than_all_users(any_snapshot: SimulatedAccounts) -> None:
    accounts = any_snapshot.accounts
    assert (accounts["active_users_count"] <= accounts["total_users_count"]).all()


def test_account_ids_are_unique_version_4_uuids(any_snapshot: SimulatedAccounts) -> None:
    ids = any_snapshot.accounts["account_id"]
    assert ids.is_unique
    assert ids.str.fullmatch("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}").all()
    parsed = uuid.UUID(ids[0])
    assert (parsed.version, parsed.variant, str(parsed)) == (4, uuid.RFC_4122, ids[0])


def test_every_random_digit_of_an_id_takes_every_value(snapshot: SimulatedAccounts) -> None:
    ids = snapshot.accounts["account_id"].head(5_000)
    for place in range(36):
        found = "".join(sorted(set(ids.str[place])))
        assert found == {8: "-", 13: "-", 18: "-", 23: "-", 14: "4", 19: "89ab"}.get(place, "0123456789abcdef")


def test_types_are_small_and_the_same_for_every_snapshot(
    snapshot: SimulatedAccounts, any_snapshot: SimulatedAccounts
) -> None:
    pd.testing.assert_series_equal(any_snapshot.accounts.dtypes, snapshot.accounts.dtypes)
    without_id = any_snapshot.accounts.drop(columns="account_id")
    assert without_id.memory_usage(index=False, deep=True).sum() / ROWS < 40


def test_table_goes_to_arrow_with_missing_values_as_nulls(snapshot: SimulatedAccounts) -> None:
    table = pa.Table.from_pandas(snapshot.accounts, preserve_index=False)
    nulls = {name: table[name].null_count for name in COLUMNS}
    assert nulls == snapshot.accounts.isna().sum().to_dict()
    assert pa.types.is_integer(table.schema.field("login_count_p1m").type)


def test_columns_are_correlated_and_skewed(complete: SimulatedAccounts) -> None:
    accounts = complete.accounts
    ranks = accounts[list(RANGES)].astype("float64").corr("spearman")
    assert ranks.loc["login_count_p1m", "active_users_count"] > 0.7
    assert ranks.loc["payments_p1m_vs_prev_month_ratio", "invoices_p1m_vs_prev_month_ratio"] > 0.4
    assert accounts["total_users_count"].mean() > 1.4 * accounts["total_users_count"].median()
    ratio = accounts["invoices_p1m_vs_prev_month_ratio"]
    assert abs(ratio.median()) < 0.01
    assert ratio.astype("float64").kurt() > 6
    by_trend = ratio.groupby(accounts["revenue_trend"], observed=True).mean()
    assert by_trend["down"] < by_trend["flat"] < by_trend["up"]
    shares = accounts["operating_country"].value_counts(normalize=True)
    assert shares.max() > 10 * shares.min()


# --- seeds ------------------------------------------------------------------------------------------------------


def test_same_seed_gives_the_same_bytes(snapshot: SimulatedAccounts) -> None:
    again = simulate_accounts(ROWS, 31_459, Simulation())
    pd.testing.assert_frame_equal(again.accounts, snapshot.accounts, check_exact=True)
    assert again.probability.tobytes() == snapshot.probability.tobytes()
    assert again.churned.tobytes() == snapshot.churned.tobytes()


def test_other_seed_gives_other_accounts(snapshot: SimulatedAccounts) -> None:
    other = simulate_accounts(ROWS, 42, Simulation())
    assert not set(other.accounts["account_id"]) & set(snapshot.accounts["account_id"])
    assert abs(np.corrcoef(other.probability, snapshot.probability)[0, 1]) < 0.02


def test_blocks_of_rows_do_not_repeat(complete: SimulatedAccounts) -> None:
    assert not complete.accounts.drop(columns="account_id").duplicated().any()


def test_what_is_missing_changes_nothing_else(snapshot: SimulatedAccounts, complete: SimulatedAccounts) -> None:
    np.testing.assert_array_equal(snapshot.probability, complete.probability)
    filled = snapshot.accounts.where(snapshot.accounts.notna(), complete.accounts)
    for column in COLUMNS:
        assert (filled[column] == complete.accounts[column]).all(), column


@pytest.mark.parametrize("rows", [1, 2, 32_768, 32_769])
def test_any_number_of_rows(rows: int) -> None:
    assert len(simulate_accounts(rows, 1, Simulation()).accounts) == rows


@pytest.mark.parametrize(("rows", "drift", "named"), [(0, 0.0, "rows = 0"), (5, 1.5, "drift = 1.5"), (5, -0.1, "-0.1")])
def test_wrong_arguments_are_refused(rows: int, drift: float, named: str) -> None:
    with pytest.raises(ChurnError, match=named):
        simulate_accounts(rows, 1, Simulation(), drift=drift)


# --- the churn model --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("base_rate", [0.02, 0.05, 0.12, 0.3, 0.5])
def test_churn_rate_is_the_base_rate(base_rate: float) -> None:
    drawn = simulate_accounts(ROWS, 7, Simulation(base_rate=base_rate))
    # The snapshot and the calibration sample, 262,144 accounts, both have a sampling error.
    error = drawn.probability.std() * np.sqrt(1 / ROWS + 1 / 262_144)
    assert drawn.probability.mean() == pytest.approx(base_rate, abs=4 * error)
    assert drawn.churned.mean() == pytest.approx(base_rate, abs=4 * np.sqrt(base_rate * (1 - base_rate) / ROWS))


@pytest.mark.parametrize("base_rate", [1e-6, 0.001, 0.999, 1 - 1e-6])
def test_extreme_base_rates_are_solved(base_rate: float) -> None:
    drawn = simulate_accounts(20_000, 7, Simulation(base_rate=base_rate))
    odds = base_rate / (1 - base_rate)
    mean = drawn.probability.mean()
    assert mean / (1 - mean) == pytest.approx(odds, rel=0.1)


def test_oracle_roc_auc_is_as_documented(snapshot: SimulatedAccounts) -> None:
    assert 0.83 <= roc_auc_score(snapshot.churned, snapshot.probability) <= 0.87


def test_outcomes_follow_the_probability(snapshot: SimulatedAccounts) -> None:
    tenth = pd.qcut(snapshot.probability, 10, labels=False)
    table = pd.DataFrame({"p": snapshot.probability, "churned": snapshot.churned}).groupby(tenth).mean()
    error = np.sqrt(table["p"] * (1 - table["p"]) / (ROWS / 10))
    assert ((table["churned"] - table["p"]).abs() < 4 * error).all()


def test_probability_of_the_complete_accounts_is_the_one_they_were_drawn_with(complete: SimulatedAccounts) -> None:
    np.testing.assert_allclose(churn_probability(complete.accounts, 0.12), complete.probability, rtol=1e-5)


@pytest.mark.parametrize(
    ("riskier", "safer"),
    [
        ({"payments_p1m_vs_prev_month_ratio": -0.5}, {}),
        ({"invoices_p1m_vs_prev_month_ratio": -0.5}, {}),
        ({"visits_p1m_vs_prev_month_ratio": -0.5}, {}),
        ({"quotes_p1m_vs_prev_month_ratio": -0.5}, {}),
        ({}, {"payments_p1m_vs_prev_month_ratio": 0.5}),
        ({"active_users_count": 2, "login_count_p1m": 20}, {}),
        ({"login_count_p1m": 10}, {}),
        ({"payment_methods_active_count": 0}, {"payment_methods_active_count": 1}),
        ({"payment_methods_active_count": 1}, {"payment_methods_active_count": 2}),
        ({"revenue_trend": "down"}, {"revenue_trend": "up"}),
        ({"operating_country": "in"}, {"operating_country": "ca"}),
        ({"industry_category": "cleaning"}, {"industry_category": "construction"}),
        ({"p1m_tenure_since_conversion": 0}, {"p1m_tenure_since_conversion": 6}),
        ({"p1m_tenure_since_conversion": 12}, {"p1m_tenure_since_conversion": 6}),
        ({"p1m_tenure_since_conversion": 12}, {"p1m_tenure_since_conversion": 20}),
        ({"p1m_tenure_since_conversion": 20}, {"p1m_tenure_since_conversion": 60}),
        (
            {"total_users_count": 1, "active_users_count": 1, "login_count_p1m": 10},
            {"total_users_count": 2, "active_users_count": 2, "login_count_p1m": 20},
        ),
    ],
    ids=str,
)
def test_probability_moves_the_documented_way(riskier: Mapping[str, Any], safer: Mapping[str, Any]) -> None:
    assert log_odds(**riskier) > log_odds(**safer) + 0.1


def test_effects_have_the_documented_size() -> None:
    payments = "payments_p1m_vs_prev_month_ratio"
    assert log_odds(**{payments: 0.4}) - log_odds() == pytest.approx(-0.7 * np.tanh(1), abs=1e-5)
    assert log_odds(login_count_p1m=120) - log_odds() == pytest.approx(-0.5 * np.log(2), abs=1e-5)
    assert log_odds(revenue_trend="down") - log_odds() == pytest.approx(0.3, abs=1e-5)
    assert log_odds(payment_methods_active_count=0) - log_odds() == pytest.approx(0.4 + 2 * 0.25, abs=1e-5)


@pytest.mark.parametrize(
    ("column", "enough", "more"),
    [
        ("login_count_p1m", 6 * 30, 6 * 100),
        ("payment_methods_active_count", 3, 5),
    ],
)
def test_effects_saturate(column: str, enough: int, more: int) -> None:
    assert log_odds(**{column: enough}) == pytest.approx(log_odds(**{column: more}), abs=1e-6)


def test_low_activity_matters_more_early_in_tenure() -> None:
    low = {"active_users_count": 3, "login_count_p1m": 30}
    early, late = {"p1m_tenure_since_conversion": 1}, {"p1m_tenure_since_conversion": 40}
    assert log_odds(**low, **early) - log_odds(**early) > log_odds(**low, **late) - log_odds(**late) + 0.2


def test_falling_payments_matter_more_with_few_payment_methods() -> None:
    falling = {"payments_p1m_vs_prev_month_ratio": -0.3}
    few, many = {"payment_methods_active_count": 1}, {"payment_methods_active_count": 4}
    extra = (log_odds(**falling, **few) - log_odds(**few)) - (log_odds(**falling, **many) - log_odds(**many))
    assert extra == pytest.approx(0.8, abs=1e-5)


@pytest.mark.parametrize(
    ("column", "value", "named"),
    [
        ("operating_country", "xx", "operating_country: 'xx' is not one of au, ca"),
        ("operating_country", None, "operating_country: .* is not one of"),
        ("login_count_p1m", None, "login_count_p1m: values are missing"),
        ("payment_methods_active_count", 9, "payment_methods_active_count: 9 is not between 0 and 5"),
    ],
)
def test_probability_needs_complete_and_valid_accounts(column: str, value: object, named: str) -> None:
    with pytest.raises(ChurnError, match=named):
        churn_probability(pd.DataFrame([TYPICAL_ACCOUNT | {column: value}]), 0.12)
    with pytest.raises(ChurnError, match=f"needs the columns {column}"):
        churn_probability(pd.DataFrame([TYPICAL_ACCOUNT]).drop(columns=column), 0.12)


def test_a_booster_learns_nearly_all_there_is_to_know() -> None:
    from xgboost import XGBClassifier

    def features(accounts: pd.DataFrame) -> pd.DataFrame:
        table = pd.get_dummies(accounts.drop(columns="account_id")).astype("float32")
        return table.assign(share=table["active_users_count"] / table["total_users_count"])

    train, held_out = simulate_accounts(21_000, 31_459, Simulation()), simulate_accounts(50_000, 42, Simulation())
    x, y, fitted = features(train.accounts), train.churned, 16_800
    booster = XGBClassifier(
        n_estimators=1000, learning_rate=0.1, max_depth=4, min_child_weight=5, subsample=0.8, colsample_bytree=0.6,
        early_stopping_rounds=30, random_state=0, n_jobs=2,
    )  # fmt: skip
    booster.fit(x[:fitted], y[:fitted], eval_set=[(x[fitted:], y[fitted:])], verbose=False)
    learned = roc_auc_score(held_out.churned, booster.predict_proba(features(held_out.accounts))[:, 1])
    assert learned >= 0.98 * roc_auc_score(held_out.churned, held_out.probability)


# --- no signal --------------------------------------------------------------------------------------------------


def test_coin_flips_have_probability_one_half_and_nothing_missing(coin_flips: SimulatedAccounts) -> None:
    assert (coin_flips.probability == 0.5).all()
    assert coin_flips.churned.mean() == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(ROWS))
    assert not coin_flips.accounts.isna().any(axis=None)


@pytest.mark.parametrize("column", [*RANGES, *CATEGORIES])
def test_no_column_tells_anything_about_a_coin_flip(coin_flips: SimulatedAccounts, column: str) -> None:
    values = coin_flips.accounts[column]
    numbers = values.cat.codes if column in CATEGORIES else values.astype("float64")
    # The standard error of the ROC AUC of an uninformative score is 1 / sqrt(3 n) for classes of equal size.
    assert roc_auc_score(coin_flips.churned, numbers) == pytest.approx(0.5, abs=4 / np.sqrt(3 * ROWS))


def test_coin_flips_are_as_broad_as_the_domains(coin_flips: SimulatedAccounts) -> None:
    for column, (low, high) in RANGES.items():
        values = coin_flips.accounts[column].astype("float64")
        assert values.min() <= low + 0.001 * (high - low)
        assert values.max() >= high - 0.03 * (high - low)
    for column in CATEGORIES:
        shares = coin_flips.accounts[column].value_counts(normalize=True)
        assert shares.min() == pytest.approx(shares.max(), abs=0.02)


def test_drift_does_not_touch_coin_flips(coin_flips: SimulatedAccounts) -> None:
    drifted = simulate_accounts(ROWS, 31_459, Simulation(signal="none"), drift=1.0)
    assert drifted.accounts.equals(coin_flips.accounts)


# --- missing values ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing_share", [0.01, 0.04, 0.2, 0.5])
def test_missing_shares_are_the_documented_multiples(missing_share: float) -> None:
    accounts = simulate_accounts(ROWS, 3, Simulation(missing_share=missing_share)).accounts
    expected = pd.Series(dict.fromkeys(COLUMNS, 0.0)) + pd.Series(MISSING_MULTIPLES).reindex(COLUMNS).fillna(0)
    expected *= missing_share
    np.testing.assert_allclose(accounts.isna().mean(), expected, atol=0.008)
    assert np.mean(list(MISSING_MULTIPLES.values())) == 1.0


def test_nothing_is_missing_where_the_share_is_zero(complete: SimulatedAccounts) -> None:
    assert not complete.accounts.isna().any(axis=None)


def test_ratios_are_missing_more_often_for_new_and_small_accounts(snapshot: SimulatedAccounts) -> None:
    accounts = snapshot.accounts
    new, small = accounts["p1m_tenure_since_conversion"] <= 1, accounts["total_users_count"] <= 3
    for column in RATIOS:
        missing = accounts[column].isna()
        assert missing[new].mean() > 2 * missing[~new].mean()
        assert missing[small & ~new].mean() > 1.5 * missing[~small & ~new].mean()
    logins = accounts["login_count_p1m"].isna()
    assert logins[new].mean() == pytest.approx(logins[~new].mean(), abs=0.01)


# --- drift ------------------------------------------------------------------------------------------------------


def test_drift_shifts_the_population(snapshot: SimulatedAccounts, drifted: SimulatedAccounts) -> None:
    before, after = snapshot.accounts, drifted.accounts
    for column in (*RATIOS[:2], "login_count_p1m", "active_users_count", "p1m_tenure_since_conversion"):
        assert after[column].mean() < before[column].mean(), column
    assert population_stability(before["operating_country"], after["operating_country"]) > 0.25
    assert after[list(MISSING_MULTIPLES)].isna().mean().gt(1.3 * before[list(MISSING_MULTIPLES)].isna().mean()).all()
    assert drifted.probability.mean() > 1.5 * snapshot.probability.mean()


def test_the_churn_model_does_not_drift() -> None:
    drifted = simulate_accounts(20_000, 5, Simulation(missing_share=0.0), drift=1.0)
    np.testing.assert_allclose(churn_probability(drifted.accounts, 0.12), drifted.probability, rtol=1e-5)


def test_more_drift_shifts_more(snapshot: SimulatedAccounts, drifted: SimulatedAccounts) -> None:
    half = simulate_accounts(ROWS, 31_459, Simulation(), drift=0.5)
    assert snapshot.probability.mean() < half.probability.mean() < drifted.probability.mean()


def test_snapshots_without_drift_come_from_one_population(snapshot: SimulatedAccounts) -> None:
    other = simulate_accounts(ROWS, 42, Simulation(), drift=0.0)
    assert population_stability(snapshot.accounts["operating_country"], other.accounts["operating_country"]) < 0.001
    assert other.probability.mean() == pytest.approx(snapshot.probability.mean(), abs=0.003)
    assert other.accounts.equals(simulate_accounts(ROWS, 42, Simulation()).accounts)
