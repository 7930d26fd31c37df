"""Columns in which the risk only rises or only falls."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from churn.config import AccountSchema, FeatureEngineering, Ratio, Training, Tuning, check_parameters
from churn.errors import ParametersError
from churn.tables import check_accounts
from churn.training import train_model
from tests.conftest import base_parameters, rng

SCHEMA = AccountSchema.model_validate(
    {
        "id": "id",
        "label": {"column": "left", "positive": "true"},
        "numeric": [{"column": "logins", "minimum": 0}, {"column": "seats", "minimum": 0}, "age"],
        "categorical": ["plan"],
    }
)
RATIO = FeatureEngineering(ratios=(Ratio(name="logins per seat", numerator="logins", denominator="seats"),))
SMALL = {"folds": 3, "threads": 2}


@pytest.fixture(scope="module")
def accounts() -> pd.DataFrame:
    """The risk falls with logins up to ten and rises beyond, and falls with the age."""
    random = rng(1)
    rows = 1500
    frame = pd.DataFrame(
        {
            "id": [f"a{at}" for at in range(rows)],
            "logins": random.integers(0, 21, rows),
            "seats": random.integers(1, 9, rows),
            "age": random.normal(40, 12, rows).round(),
            "plan": random.choice(["basic", "plus"], rows),
        }
    )
    margin = 0.3 * np.abs(frame["logins"] - 10) - 0.04 * (frame["age"] - 40) - 2
    frame["left"] = random.random(rows) < 1 / (1 + np.exp(-margin))
    frame.loc[::17, "age"] = np.nan
    return check_accounts(frame, SCHEMA, subject="accounts", labelled=True).accounts


def along(model: Any, accounts: pd.DataFrame, column: str, values: Any) -> np.ndarray:
    """Probabilities of some accounts with other values of a column, shape (values, accounts)."""
    some = accounts.head(40)
    return np.stack([model.probability(some.assign(**{column: float(value)})) for value in values])


@pytest.mark.parametrize("portfolio", ["quick", "full"])
@pytest.mark.parametrize("direction", [-1, 1])
def test_the_risk_keeps_its_direction(accounts: pd.DataFrame, portfolio: str, direction: int) -> None:
    def trained(**given: Any) -> Any:
        return train_model(accounts, SCHEMA, RATIO, Training(portfolio=portfolio, **SMALL, **given))

    free = along(trained(), accounts, "logins", range(22))
    steps = np.diff(free, axis=0)
    assert (steps > 0.005).any()
    assert (steps < -0.005).any()
    bound = trained(monotone={"logins": direction})
    assert (direction * np.diff(along(bound, accounts, "logins", range(22)), axis=0) >= 0).all()
    # Of the ratio too: more seats mean fewer logins for each.
    assert (direction * np.diff(along(bound, accounts, "age", range(10, 90, 5)), axis=0) < 0).any()


def test_a_search_keeps_it_too(accounts: pd.DataFrame) -> None:
    training = Training(monotone={"age": 1}, tuning=Tuning(enabled=True, trials=3), portfolio="quick", **SMALL)
    found = along(train_model(accounts, SCHEMA, FeatureEngineering(), training), accounts, "age", range(10, 90, 4))
    assert (np.diff(found, axis=0) >= 0).all()


def test_what_cannot_be_promised_is_refused() -> None:
    raw = base_parameters()
    raw["feature_engineering"]["ratios"] = [
        {"name": "signed", "numerator": "login_count_p1m", "denominator": "visits_p1m_vs_prev_month_ratio"},
        {"name": "both", "numerator": "active_users_count", "denominator": "total_users_count"},
    ]
    raw["training"]["monotone"] = {
        "login_count_p1m": -1, "active_users_count": -1, "total_users_count": -1, "industry_category": 1,
    }  # fmt: skip
    with pytest.raises(ParametersError) as caught:
        check_parameters(raw)
    signed, both, unknown = caught.value.faults
    assert "'signed' has a direction only if visits_p1m_vs_prev_month_ratio cannot be negative" in signed
    assert "'both' rises with active_users_count and falls with total_users_count" in both
    assert unknown.startswith("training.monotone = 'industry_category': accounts.numeric has no such column")
    raw["training"]["monotone"] = {"active_users_count": 2}
    with pytest.raises(ParametersError, match=r"training\.monotone\.active_users_count = 2"):
        check_parameters(raw)
