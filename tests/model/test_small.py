"""A few rows get the scores and reasons of the batch path, to the last bit."""

import json
import math
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xgboost as xgb
from hypothesis import given, settings
from hypothesis import strategies as st
from kedro.io import DataCatalog, MemoryDataset

from churn.config import Ratio, RiskBand
from churn.errors import AccountsError
from churn.model import ChurnModel, Encoder
from churn.model.calibration import Calibration
from churn.model.churn_model import BASELINE
from churn.model.small import RowEncoder
from churn.model.xgboost_trees import XGBoostTrees
from churn.tables import check_accounts
from tests.conftest import ROOT
from tests.model.store import STORED, bits_of, stored_accounts
from tests.tables.test_properties import TEXTS, column_of

# As few rows as a service gets, and enough for each way of computing margins.
SIZES = st.one_of(st.integers(1, 6), st.sampled_from([32, 33, 64, 65, 130]))


@pytest.fixture(scope="module")
def models(model: ChurnModel, canonical: pd.DataFrame) -> dict[str, ChurnModel]:
    """The default model, and models with other parts."""
    features = model.encoder.transform(canonical)
    labels = canonical[model.schema.label.column].to_numpy()
    deep = xgb.train(
        {"objective": "binary:logistic", "max_depth": 7, "nthread": 1},
        xgb.DMatrix(features, labels),
        num_boost_round=60,
    )
    steps = Calibration("isotonic", margins=(-2.0, -0.5, 0.1), log_odds=(-3.0, -1.0, 2.0))
    strange = replace(
        model.encoder, vocabularies={**model.encoder.vocabularies, "revenue_trend": ("1.0", "1", "up", "True")}
    )
    bands = (RiskBand(name="low", minimum=0), RiskBand(name="high", minimum=0.1))
    return {
        "default": model,
        "large trees": replace(model, trees=XGBoostTrees(deep), linear=None),
        "isotonic": replace(model, calibration=steps, threshold=0.1, risk_bands=bands),
        "stored categories": replace(
            model, encoder=strange, trees=XGBoostTrees(as_wide(strange, canonical, labels)), linear=None
        ),
    }


def as_wide(encoder: Encoder, rows: pd.DataFrame, labels: np.ndarray) -> xgb.Booster:
    """A small booster for the features of another encoder."""
    return xgb.train(
        {"objective": "binary:logistic", "max_depth": 3, "nthread": 1},
        xgb.DMatrix(encoder.transform(rows), labels),
        num_boost_round=10,
    )


def numbers(low: float, high: float, *, whole: bool) -> st.SearchStrategy[Any]:
    plain = st.integers(int(low), int(high)) if whole else st.floats(low, high)
    return st.one_of(
        plain, plain.map(float), plain.map(str), st.none(), st.sampled_from(["", " NA ", math.nan, True, "1e0"])
    )


@st.composite
def records(draw: st.DrawFn, model: ChurnModel) -> list[dict[str, Any]]:
    """Rows that fit the schema, but for those that the rules between columns refuse."""
    schema, rows = model.schema, []
    cells = {item.column: numbers(item.minimum or 0, item.maximum or 9, whole=item.integer) for item in schema.numeric}
    for name, vocabulary in model.vocabularies.items():
        known = st.sampled_from(sorted({*vocabulary, "true", "1"}))
        cells[name] = st.one_of(
            known, known.map(lambda text: f" {text}\t"), st.none(), TEXTS, st.booleans(), st.just(1.0)
        )
    kinds = draw(st.lists(st.fixed_dictionaries(cells), min_size=1, max_size=6))
    for at in range(draw(SIZES)):
        row = {schema.id: at, **kinds[at % len(kinds)]}
        rule = schema.not_above[0]
        row[rule.limit] = schema.numeric[0].maximum
        rows.append(row)
    return rows


def frame_of(rows: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame({name: column_of([row[name] for row in rows]) for name in rows[0]})


@pytest.mark.parametrize("name", ["default", "large trees", "isotonic", "stored categories"])
@given(data=st.data())
@settings(max_examples=40)
def test_a_few_rows_get_what_a_table_of_them_gets(
    models: dict[str, ChurnModel], name: str, data: st.DataObject
) -> None:
    model = models[name]
    rows = data.draw(records(model))
    accounts = check_accounts(frame_of(rows), model.schema, subject="accounts", labelled=False).accounts
    expected, found = model.score(accounts), model.score_rows(rows)
    assert [score.row for score in found] == list(range(len(rows)))
    assert [score.id for score in found] == expected[model.schema.id].tolist()
    assert bits_of([score.probability for score in found]) == bits_of(expected["probability"])
    assert [score.prediction for score in found] == expected["prediction"].tolist()
    assert [score.risk_band for score in found] == expected["risk_band"].tolist()
    assert all(score.contributions == () for score in found)
    pd.testing.assert_frame_equal(pd.DataFrame([score.account for score in found]).astype(accounts.dtypes), accounts)
    # A row is scored alike whatever the others are.
    assert model.score_rows(rows[-1:]) == [found[-1]._replace(row=0)] or _has_nan(found[-1].account)

    parts = model.explain_terms(accounts.head(8)).drop(columns=BASELINE)
    for score, row in zip(model.score_rows(rows[:8], reasons=True), parts.to_numpy().tolist(), strict=True):
        assert score.contributions == tuple(row)


def _has_nan(account: Any) -> bool:
    return any(isinstance(value, float) and math.isnan(value) for value in account.values())


def test_every_account_of_a_table_gets_its_score(model: ChurnModel, labelled: pd.DataFrame) -> None:
    rows = json.loads(labelled.head(1_000).to_json(orient="records", double_precision=15))
    expected = model.probability(pd.DataFrame(rows))
    assert bits_of([score.probability for score in model.score_rows(rows)]) == bits_of(expected)
    singly = [model.score_rows([row])[0].probability for row in rows[:200]]
    assert bits_of(singly) == bits_of(expected[:200])


@pytest.mark.parametrize("folder", sorted((STORED / "versions").iterdir()), ids=lambda folder: str(folder.name))
def test_stored_models_score_a_few_rows_too(folder: Any) -> None:
    model, accounts = ChurnModel.load(folder), stored_accounts()
    rows = [dict(row) for _, row in accounts.iterrows()]
    scores = model.score_rows(rows, reasons=1)
    assert (
        bits_of([score.probability for score in scores])
        == json.loads((folder / "expected.json").read_text())["probability_bits"]
    )


def test_faults_are_those_of_the_batch_check(model: ChurnModel, labelled: pd.DataFrame) -> None:
    rows = [dict(row) for _, row in labelled.head(5).iterrows()]
    rows[1] |= {"total_users_count": "many", "operating_country": ["us"]}
    rows[3] |= {"login_count_p1m": 2.5}
    with pytest.raises(AccountsError) as expected:
        check_accounts(frame_of(rows), model.schema, subject="accounts to score", labelled=False)
    with pytest.raises(AccountsError) as caught:
        model.score_rows(rows)
    assert str(caught.value) == str(expected.value)
    scores, faults = model.score_good_rows(rows, reasons=True)
    assert [score.row for score in scores] == [0, 2, 4]
    good = [rows[0], rows[2], rows[4]]
    assert [score.probability for score in scores] == [score.probability for score in model.score_rows(good)]
    assert [(fault.row, fault.column) for fault in faults] == [
        (1, "total_users_count"),
        (1, "operating_country"),
        (3, "login_count_p1m"),
    ]


def test_the_example_of_the_documentation_runs(model: ChurnModel, capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "docs/inference.md").read_text()
    section = page.partition("### From Python, a few rows at a time\n")[2].partition("\n#")[0]
    blocks = re.findall(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    catalog = DataCatalog({"champion@model": MemoryDataset(model, copy_mode="assign")})
    exec("".join(blocks), {"catalog": catalog})  # noqa: S102, our own page
    scored, told, faults, sentences = capsys.readouterr().out.splitlines()
    assert scored.startswith("a-1 0.")
    assert told.startswith("(")
    assert faults.startswith(
        "[(1, 'total_users_count', \"total_users_count: 1 value is not a number, for example 'many' (row 2)"
    )
    assert sentences.startswith("['")


def test_no_rows(model: ChurnModel) -> None:
    with pytest.raises(AccountsError, match="the table has no rows"):
        model.score_rows([])
    assert model.score_good_rows([]) == ([], [])


def test_rows_of_faults_only_have_no_scores(model: ChurnModel) -> None:
    scores, faults = model.score_good_rows([{}, None], reasons=3)  # type: ignore[list-item]
    assert not scores
    assert [fault.row for fault in faults] == [0, 1]


def test_threads_share_a_model(model: ChurnModel, labelled: pd.DataFrame) -> None:
    rows = json.loads(labelled.head(64).to_json(orient="records", double_precision=15))
    fresh = ChurnModel.from_files(model.files())
    fresh.rows.prepare(reasons=False)
    expected = [score.probability for score in model.score_rows(rows)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda row: fresh.score_rows([row], reasons=1)[0].probability, rows))
    assert found == expected


def test_ratios_beyond_float32_are_held() -> None:

    ratio = Ratio(name="share", numerator="a", denominator="b")
    encoder = Encoder(("a", "b"), (ratio,), {"a": 1.0, "b": 1.0, "share": 2.0}, frozenset({"b", "share"}), {})
    values = [1e38, -1e38, 1e-38, 0.0, -0.0, 1.0, math.nan]
    rows = [{"a": one, "b": other} for one in values for other in values]
    np.testing.assert_array_equal(RowEncoder(encoder)(rows), encoder.transform(pd.DataFrame(rows)))
