"""What later pipelines would refuse is refused before the staged snapshots are replaced."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from churn.config import AccountSchema, FeatureEngineering, Label, NumericColumn, Simulation, Staging
from churn.errors import AccountsError
from churn.pipelines.data_generation.nodes import make_snapshots
from churn.training.encoding import fit_encoder
from churn.training.feasibility import class_fault, snapshot_faults, split_fault

SCHEMA = AccountSchema(
    id="key", label=Label(column="left"), numeric=(NumericColumn(column="age"),), categorical=("plan",)
)
CATEGORIES_ONLY = SCHEMA.model_copy(update={"numeric": ()})


def table(churned: int, stayed: int, **columns: Any) -> pd.DataFrame:
    rows = churned + stayed
    given = {"age": np.arange(rows) % 50 + 0.5, "plan": ["basic"] * rows, **columns}
    return pd.DataFrame(
        {
            "key": [f"{row:04}" for row in range(rows)],
            "left": (["True"] * churned + ["False"] * stayed),
            **given,
        }
    )


def staged(accounts: pd.DataFrame, schema: AccountSchema = SCHEMA, share: float = 0.2, **features: Any) -> Any:
    return make_snapshots(
        accounts, schema, Simulation(), Staging(scoring_share=share), FeatureEngineering(ratios=(), **features)
    )


def refused(accounts: pd.DataFrame, schema: AccountSchema = SCHEMA, share: float = 0.2, **features: Any) -> list[str]:
    with pytest.raises(AccountsError) as caught:
        staged(accounts, schema, share, **features)
    assert caught.value.subject == "source accounts"
    return caught.value.faults


@pytest.mark.parametrize(("churned", "stayed"), [(9, 500), (500, 9), (10, 10), (12, 12), (2, 2)])
def test_too_few_accounts_of_a_class_are_refused_before_anything_is_staged(churned: int, stayed: int) -> None:
    (fault,) = refused(table(churned, stayed))
    assert fault.startswith("left: ")
    assert "10 of each" in fault


def test_the_fault_counts_what_remains_after_the_hold_out() -> None:
    (fault,) = refused(table(11, 100))
    assert "(9 churned, 79 stayed)" in fault
    assert "staging.scoring_share (0.2)" in fault
    assert len(staged(table(13, 13)).training) == 20
    assert len(staged(table(12, 100), share=0.1).scoring) == 12


def test_a_single_account_of_a_class_is_not_an_error_of_the_library() -> None:
    (fault,) = refused(table(1, 200))
    assert "(1 churned, 200 stayed)" in fault


def test_a_share_that_leaves_one_row_is_named() -> None:
    (fault,) = refused(table(20, 20), share=0.01)
    assert fault.startswith("staging.scoring_share = 0.01 would hold out 1 of 40 accounts")
    (fault,) = refused(table(20, 20), test_share=0.01)
    assert fault.startswith("feature_engineering.test_share = 0.01 would hold out 1 of 32 accounts")
    assert split_fault(40, 0.99, "x") is not None
    assert split_fault(40, 0.5, "x") is None


@pytest.mark.parametrize("rows", range(4, 60, 7))
@pytest.mark.parametrize("share", [0.001, 0.03, 0.3, 0.9, 0.97, 0.999])
def test_a_share_is_refused_exactly_if_the_split_fails(rows: int, share: float) -> None:
    from sklearn.model_selection import train_test_split

    labels = np.arange(rows) % 2
    try:
        train_test_split(labels, test_size=share, stratify=labels)
    except ValueError:
        assert split_fault(rows, share, "share") is not None
    else:
        assert split_fault(rows, share, "share") is None


def test_rare_categories_alone_give_no_feature() -> None:
    rare = table(30, 30, plan=[f"plan {row % 12}" for row in range(60)])
    (fault,) = refused(rare, CATEGORIES_ONLY)
    assert "feature_engineering.min_category_count" in fault
    assert "plan" in fault
    assert "10 training rows" in fault
    assert len(staged(rare).training) == 48, "a numeric column is a feature"
    assert len(staged(rare, CATEGORIES_ONLY, min_category_count=1).training) == 48
    half = table(30, 30, plan=[None if row % 2 else f"plan {row}" for row in range(60)])
    assert len(staged(half, CATEGORIES_ONLY).training) == 48, "that a value is missing is a feature"


def test_an_encoder_without_features_is_refused_wherever_its_rows_come_from() -> None:
    rare = table(10, 10, plan=[f"plan {row}" for row in range(20)])
    with pytest.raises(AccountsError, match="min_category_count") as caught:
        fit_encoder(rare, CATEGORIES_ONLY, FeatureEngineering())
    assert caught.value.subject == "training accounts"


def test_all_faults_of_the_snapshots_are_listed_together() -> None:
    accounts = table(30, 30)
    training, scoring = accounts.iloc[:50].copy(), accounts.iloc[50:].copy()
    training["left"] = (training["left"] == "True").astype(int)
    training["age"] = np.nan
    scoring["plan"] = "family"
    faults = snapshot_faults(training, scoring, SCHEMA, FeatureEngineering())
    assert [fault.partition(":")[0] for fault in faults] == ["age", "plan"]
    assert "accounts.numeric" in faults[0]
    assert "accounts.categorical" in faults[1]
    assert snapshot_faults(training.assign(age=1.0), scoring.assign(plan="basic"), SCHEMA, FeatureEngineering()) == []


def test_a_simulation_of_too_few_rows_names_the_parameter(schema: AccountSchema) -> None:
    few = Simulation(training_rows=30, scoring_rows=30)
    with pytest.raises(AccountsError, match=r"raise simulation.training_rows \(30\)") as caught:
        make_snapshots(None, schema, few, Staging(), FeatureEngineering())
    assert caught.value.subject == "simulated accounts"


def test_enough_accounts_of_each_class_are_no_fault() -> None:
    assert class_fault(np.repeat([0, 1], 10).astype(np.int8), SCHEMA) is None
    assert class_fault(np.repeat([0, 1], [10, 9]).astype(np.int8), SCHEMA) is not None
    assert class_fault(np.zeros(50, np.int8), SCHEMA) is not None
