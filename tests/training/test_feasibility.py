"""What later pipelines would refuse is refused before the staged snapshots are replaced."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from churn.config import AccountSchema, FeatureEngineering, Label, NumericColumn, Simulation, Staging
from churn.errors import AccountsError
from churn.pipelines.data_generation.nodes import make_snapshots
from churn.tables.split import held_out_rows
from churn.training.encoding import fit_encoder
from churn.training.feasibility import class_fault, snapshot_faults
from churn.training.splitting import split_fault

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


@pytest.mark.parametrize(("churned", "stayed"), [(9, 500), (500, 9), (10, 10), (2, 2)])
def test_too_few_accounts_of_a_class_are_refused_before_anything_is_staged(churned: int, stayed: int) -> None:
    (fault,) = refused(table(churned, stayed))
    assert fault.startswith("left: ")
    assert "10 of each" in fault


def test_the_fault_counts_what_remains_after_the_hold_out() -> None:
    accounts = table(11, 100)
    scored = held_out_rows(accounts["key"].astype("str"), Staging().random_state, 0.4)
    left = accounts["left"][~scored].value_counts()
    (fault,) = refused(accounts, share=0.4)
    assert f"({left['True']} churned, {left['False']} stayed)" in fault
    assert "staging.scoring_share (0.4)" in fault
    assert "staging.random_state" in fault


def test_a_single_account_of_a_class_is_not_an_error_of_the_library() -> None:
    (fault,) = refused(table(1, 200))
    assert "(1 churned, 200 stayed)" in fault


def test_a_share_that_holds_out_nothing_is_named() -> None:
    (fault,) = refused(table(20, 20), share=0.0001)
    assert "the scoring snapshot would be empty" in fault
    (fault,) = refused(table(20, 20), test_share=0.0001)
    assert "feature_engineering.random_state or test_share" in fault


def test_a_split_needs_both_classes_on_both_sides() -> None:
    labels = np.repeat([0, 1], [30, 12]).astype(np.int8)
    is_test = np.arange(42) % 3 == 0
    assert split_fault(labels, is_test, "left") is None
    for broken in (np.zeros(42, bool), np.ones(42, bool), labels == 0, is_test & (labels == 0)):
        assert split_fault(labels, broken, "left") is not None
    assert split_fault(labels[:-3], is_test[:-3], "left") == "left: a class has only 9 rows, 10 are needed"


def test_an_account_is_held_out_from_every_table_or_from_none() -> None:
    first, later = staged(table(100, 300)), staged(table(130, 370))
    assert set(first.scoring["key"]) <= set(later.scoring["key"])
    assert set(first.training["key"]) <= set(later.training["key"])


def test_rare_categories_alone_give_no_feature() -> None:
    rare = table(30, 30, plan=[f"plan {row % 12}" for row in range(60)])
    (fault,) = refused(rare, CATEGORIES_ONLY)
    assert "feature_engineering.min_category_count" in fault
    assert "plan" in fault
    assert "10 training rows" in fault
    assert len(staged(rare).training) > 40, "a numeric column is a feature"
    assert len(staged(rare, CATEGORIES_ONLY, min_category_count=1).training) > 40
    half = table(30, 30, plan=[None if row % 2 else f"plan {row}" for row in range(60)])
    assert len(staged(half, CATEGORIES_ONLY).training) > 40, "that a value is missing is a feature"


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
