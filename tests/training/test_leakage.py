"""Columns that give the answer away are found and named, and nothing else is."""

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.metrics import roc_auc_score

from churn.config import AccountSchema, Label, Leakage, NumericColumn, Simulation
from churn.pipelines.data_generation.simulation import simulate_accounts
from churn.tables import check_accounts
from churn.training.leakage import LeakageError, check_leakage, find_leaks, shared_ids, twins_note
from tests.conftest import ROOT, rng

TELCO = AccountSchema.model_validate(yaml.safe_load(Path(ROOT / "conf/telco/parameters.yml").read_text())["accounts"])


def telco(**columns: object) -> pd.DataFrame:
    return pd.read_csv(ROOT / "data/examples/telco_churn.csv").assign(**columns)


def leaks_of(frame: pd.DataFrame, schema: AccountSchema, **leakage: object) -> list[str]:
    canonical = check_accounts(frame, schema, subject="accounts", labelled=True).accounts
    return find_leaks(canonical, schema, Leakage.model_validate(leakage))


def with_columns(
    schema: AccountSchema, *, numeric: tuple[str, ...] = (), categorical: tuple[str, ...] = ()
) -> AccountSchema:
    return schema.model_copy(
        update={
            "numeric": (*schema.numeric, *(NumericColumn(column=name) for name in numeric)),
            "categorical": (*schema.categorical, *categorical),
        }
    )


def table(labels: np.ndarray, numeric: object = None, categorical: object = None) -> list[str]:
    """What is found in a table of one column."""
    kind = "numeric" if categorical is None else "categorical"
    schema = AccountSchema.model_validate({"id": "id", "label": {"column": "left"}, kind: ["x"]})
    values = (
        pd.Series(categorical, dtype="str") if numeric is None else pd.Series(np.asarray(numeric, dtype=np.float64))
    )
    frame = pd.DataFrame({"id": np.arange(len(labels)).astype(str), "x": values, "left": labels})
    return find_leaks(frame, schema, Leakage())


CHURNED = telco()["churn"].eq("Yes").to_numpy()
SIZE = len(CHURNED)
LEAKS = {
    "a number in rising order": ("numeric", np.where(CHURNED, 100, 0) + rng(1).normal(0, 20, SIZE)),
    "a number in falling order": ("numeric", np.where(CHURNED, 0, 100) + rng(1).normal(0, 20, SIZE)),
    "a number that churned rows lack": ("numeric", np.where(CHURNED, np.nan, rng(1).random(SIZE))),
    "a number that only churned rows have": ("numeric", np.where(CHURNED, rng(1).random(SIZE), np.nan)),
    "a code in the middle of the numbers": ("numeric", np.where(CHURNED, 50, rng(1).integers(0, 50, SIZE) * 2 + 1)),
    "nearly always missing": ("numeric", np.where(CHURNED | (rng(1).random(SIZE) < 0.02), np.nan, 1.0)),
    "a status": ("categorical", np.where(CHURNED, "closed", "open")),
    "a status with a few errors": ("categorical", np.where(CHURNED ^ (rng(1).random(SIZE) < 0.01), "closed", "open")),
    "many reasons for leaving": (
        "categorical",
        pd.Series([f"reason {number}" for number in rng(1).integers(0, 300, SIZE)]).where(CHURNED),
    ),
    "a date of leaving, never the same": ("categorical", pd.Series([f"d{row}" for row in range(SIZE)]).where(CHURNED)),
    "categories of both": (
        "categorical",
        [f"{'y' if left else 'n'}{number}" for left, number in zip(CHURNED, rng(1).integers(0, 40, SIZE), strict=True)],
    ),
}


@pytest.mark.parametrize(("kind", "values"), LEAKS.values(), ids=LEAKS.keys())
def test_an_injected_leak_is_named_and_nothing_else_is(kind, values):
    found = leaks_of(telco(secret=values), with_columns(TELCO, **{kind: ("secret",)}))
    assert len(found) == 1
    assert found[0].startswith("secret: ")
    assert "limit 0.98" in found[0]
    assert "accounts.left_out" in found[0]
    assert "training.leakage.allowed" in found[0]


def test_an_allowed_column_is_let_through():
    schema = with_columns(TELCO, categorical=("secret",))
    frame = telco(secret=np.where(CHURNED, "closed", "open"))
    assert leaks_of(frame, schema, allowed=("secret",)) == []


def test_an_honest_table_raises_no_alarm(canonical, schema):
    assert leaks_of(telco(), TELCO) == []
    assert find_leaks(canonical, schema, Leakage()) == []


@pytest.mark.parametrize("signal", ["realistic", "none"])
def test_simulated_tables_raise_no_alarm(schema, signal):
    for seed in range(3):
        simulated = simulate_accounts(2_000, seed, Simulation(signal=signal))
        frame = simulated.accounts.assign(**{schema.label.column: simulated.churned})
        assert leaks_of(frame, schema) == []


def random_table(seed: int, rows: int, churned: int) -> tuple[pd.DataFrame, AccountSchema]:
    random = rng(seed)
    columns: dict[str, object] = {"id": [f"a{row}" for row in range(rows)]}
    for at in range(6):
        columns[f"number_{at}"] = np.where(random.random(rows) < 0.1, np.nan, random.normal(size=rows))
        columns[f"code_{at}"] = random.integers(0, 3, rows).astype(float)
        columns[f"category_{at}"] = random.choice(["a", "b", "c"], rows)
        columns[f"text_{at}"] = [f"{at}-{row}" for row in range(rows)]
    columns["left"] = random.permutation(np.arange(rows) < churned).astype(np.int8)
    names = [name for name in columns if name not in ("id", "left")]
    return pd.DataFrame(columns), AccountSchema(
        id="id",
        label=Label(column="left"),
        numeric=tuple(NumericColumn(column=name) for name in names if name.startswith(("number", "code"))),
        categorical=tuple(name for name in names if name.startswith(("category", "text"))),
    )


@pytest.mark.parametrize(("rows", "churned"), [(2, 1), (10, 5), (20, 1), (50, 1), (50, 2), (50, 6), (50, 25), (50, 49)])
def test_small_random_tables_never_alarm(rows, churned):
    for seed in range(30):
        frame, schema = random_table(seed, rows, churned)
        assert find_leaks(frame, schema, Leakage()) == []


def test_a_small_table_with_a_leak_is_found():
    labels = np.arange(50) < 10
    assert table(labels, numeric=np.where(labels, 1.0, 0.0) + rng().random(50) / 2)
    assert table(np.arange(50) < 2, numeric=np.arange(50)) == []


def test_the_roc_auc_is_that_of_scikit_learn():
    random = rng(4)
    labels = random.random(5000) < 0.3
    scores = np.round(np.where(labels, 4.0, 0.0) + random.normal(size=5000), 1)
    expected = roc_auc_score(labels, scores)
    assert expected > 0.98
    shown = np.floor(1000 * expected) / 1000
    for values in (scores, -scores):
        (text,) = table(labels, numeric=values)
        assert text == (
            f"x: predicts the outcome by itself (ROC AUC {shown:.3f} alone, limit 0.98); name it in accounts.left_out if it "
            "is known only after an account has left, or in training.leakage.allowed if it is known when accounts are scored"
        )


def test_the_limit_is_the_one_given():
    frame = telco()
    tenure = max(roc_auc_score(CHURNED, frame["tenure"]), roc_auc_score(CHURNED, -frame["tenure"]))
    assert [text.split(":")[0] for text in leaks_of(frame, TELCO, roc_auc_limit=tenure - 1e-9)] == ["tenure"]
    assert leaks_of(frame, TELCO, roc_auc_limit=tenure + 1e-9) == []


def test_a_value_in_one_class_only_is_said_so():
    labels = np.arange(400) < 100
    said = "(ROC AUC 1.000 alone, limit 0.98)"
    (text,) = table(labels, categorical=np.where(labels, "closed", "open"))
    assert text.startswith(f"x: has the value 'closed' in all churned accounts and in no account that stayed {said}")
    (text,) = table(labels, numeric=np.where(labels, np.nan, rng().random(400)))
    assert text.startswith(f"x: has no value in all churned accounts and in no account that stayed {said}")
    (text,) = table(labels, numeric=np.where(labels, rng().random(400), 7.5))
    assert text.startswith(f"x: has the value 7.5 in all accounts that stayed and in no account that churned {said}")


def test_a_value_with_exceptions_is_said_so():
    labels = np.arange(400) < 100
    values = np.where(labels, "closed", "open")
    values[0], values[200] = "open", "closed"
    (text,) = table(labels, categorical=values)
    assert text.startswith("x: has the value 'open' in 99.6% of the accounts that stayed and in 1 that churned")


def test_long_values_are_cut():
    labels = np.arange(400) < 100
    (text,) = table(labels, categorical=np.where(labels, "z" * 100, "open"))
    assert "'" + "z" * 40 + "...'" in text


def test_ids_and_free_text_are_no_leak():
    labels = rng(3).random(2000) < 0.3
    assert table(labels, categorical=[f"id-{row}" for row in range(2000)]) == []
    assert table(labels, categorical=[f"pair-{row // 2}" for row in range(2000)]) == []


def test_the_order_of_the_rows_tells_nothing():
    labels = np.sort(rng(3).random(2000) < 0.3)
    assert table(labels, categorical=[f"id-{row}" for row in range(2000)]) == []
    assert table(np.arange(2000) % 2, categorical=[f"id-{row}" for row in range(2000)]) == []


def test_one_class_has_no_leaks():
    assert table(np.ones(100, dtype=int), numeric=np.arange(100)) == []


def test_the_same_table_gives_the_same_sentences():
    schema = with_columns(TELCO, categorical=("secret",))
    frame = telco(secret=LEAKS["a status with a few errors"][1])
    assert leaks_of(frame, schema) == leaks_of(frame, schema)


def test_every_leak_is_listed_in_one_error():
    schema = with_columns(TELCO, numeric=("closed_on",), categorical=("status",))
    frame = telco(status=np.where(CHURNED, "closed", "open"), closed_on=np.where(CHURNED, 1.0, np.nan))
    canonical = check_accounts(frame, schema, subject="accounts", labelled=True).accounts
    before = canonical.copy()
    with pytest.raises(LeakageError, match="training accounts: 2 faults found") as caught:
        check_leakage(canonical, schema, Leakage())
    assert [fault.split(":")[0] for fault in caught.value.faults] == ["closed_on", "status"]
    pd.testing.assert_frame_equal(canonical, before)


def test_accounts_on_both_sides_of_the_split(canonical, schema):
    train, test = canonical.iloc[:3000], canonical.iloc[2998:]
    assert shared_ids(train[schema.id], test[schema.id]) == canonical[schema.id].iloc[2998:3000].tolist()
    check_leakage(train, schema, Leakage(), test_accounts=canonical.iloc[3000:])
    with pytest.raises(LeakageError, match="2 of 1,002 test accounts are among the training accounts") as caught:
        check_leakage(train, schema, Leakage(), test_accounts=test)
    assert not any(value in str(caught.value) for value in test[schema.id])


@pytest.mark.parametrize(
    ("train", "test", "shared"),
    [
        (["a", "b"], ["c"], []),
        (["a", "b"], ["b", "b", "a"], ["b", "a"]),
        ([1, 2], ["2", "3"], ["2"]),
        ([], [], []),
        ([None, "a"], [None, "a"], ["a"]),
    ],
)
def test_shared_ids(train, test, shared):
    assert shared_ids(train, test) == shared


def test_a_large_table_takes_seconds(schema):
    simulated = simulate_accounts(200_000, 7, Simulation())
    frame = simulated.accounts.assign(**{schema.label.column: simulated.churned})
    canonical = check_accounts(frame, schema, subject="accounts", labelled=True).accounts
    canonical["login_count_p1m"] = rng().random(len(canonical))
    began = time.process_time()
    assert find_leaks(canonical, schema, Leakage()) == []
    assert time.process_time() - began < 3


def test_copies_of_accounts_under_other_ids_are_told() -> None:
    rows = check_accounts(telco(), TELCO, subject="accounts", labelled=True).accounts
    train, test = rows.iloc[:5000], rows.iloc[5000:]
    assert twins_note(train, test, TELCO) is None
    copies = train.head(300).assign(**{TELCO.id: [f"other {at}" for at in range(300)]})
    said = twins_note(train, pd.concat([test, copies], ignore_index=True), TELCO)
    assert said is not None
    churned = int(copies[TELCO.label.column].sum())
    assert said.startswith(f"{churned + twins_by_chance(train, test)} of ")
    assert "other" not in said


def twins_by_chance(train: pd.DataFrame, test: pd.DataFrame) -> int:
    columns = [*TELCO.numeric_names, *TELCO.categorical]
    churned = test[test[TELCO.label.column] == 1]
    return len(churned.merge(train[columns].drop_duplicates(), on=columns))


def test_equal_rows_of_a_table_with_few_values_are_nothing_special() -> None:
    random = rng(4)
    schema = AccountSchema(id="id", label=Label(column="left"), numeric=(), categorical=("plan", "city"))
    frame = pd.DataFrame(
        {
            "id": [f"{at}" for at in range(2000)],
            "plan": random.choice(["a", "b"], 2000),
            "city": random.choice(["x", "y", "z"], 2000),
            "left": random.random(2000) < 0.3,
        }
    )
    rows = check_accounts(frame, schema, subject="accounts", labelled=True).accounts
    assert twins_note(rows.iloc[:1500], rows.iloc[1500:], schema) is None
