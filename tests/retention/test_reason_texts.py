"""Reasons in words: codes, numbers, own sentences and their faults."""

import pandas as pd
import pytest

from churn.config import Reasons
from churn.errors import ChurnError, ParametersError
from churn.model import ChurnModel, Encoder, Profile
from churn.model.profile import CategoricalProfile
from churn.retention import explain_accounts
from churn.retention.reasons import explain_in_words
from churn.retention.terms import typical_values
from churn.retention.wording import check_texts, number_text
from tests.retention.hand_made import LOGINS, PLAN, TYPICAL, parts, table, terms_of


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (12.0, "12"),
        (1_200.0, "1,200"),
        (1_234_567.891, "1,234,567.891"),
        (0.25, "0.25"),
        (-0.4, "-0.4"),
        (0.123456, "0.1235"),
        (100.0, "100"),
        (0.0, "0"),
        (-0.0, "0"),
        (-0.00001, "0"),
        (2.5, "2.5"),
    ],
)
def test_numbers_are_written_as_people_write_them(number: float, text: str) -> None:
    assert number_text(number) == text


def test_the_case_is_told_before_rounding() -> None:
    reasons = Reasons(count=1, close_to_typical=0)
    accounts = table([(310.00001, 1, "plus"), (309.99999, 1, "plus")])
    found = explain_in_words(parts((1, 0, 0), (1, 0, 0)), accounts, TYPICAL, reasons)
    assert found["reason_1_code"].tolist() == ["LOGINS_HIGH", "LOGINS_LOW"]
    assert found["reason_1"].tolist() == ["Logins is 310, as is typical"] * 2


def test_own_sentences_take_the_place_of_the_general_ones() -> None:
    reasons = Reasons(
        count=1,
        texts=[
            {"column": LOGINS, "low": "{value} logins, typical {typical}; 100 {{%}}", "missing": "no logins on record"},
            {"column": PLAN, "category": "is on {value}, not {typical}"},
        ],
    )
    accounts = table([(12, 1, "plus"), (None, 1, "plus"), (1_500, 1, "plus"), (1, 1, "{typical}")])
    found = explain_in_words(parts((1, 0, 0), (1, 0, 0), (1, 0, 0), (0, 0, 1)), accounts, TYPICAL, reasons)
    assert found["reason_1"].tolist() == [
        "12 logins, typical 310; 100 {%}",
        "no logins on record",
        "Logins is high: 1,500, typical 310",
        "is on {typical}, not basic",
    ]


def test_general_sentences_name_columns_for_people() -> None:
    name = "login_count_p1m"
    accounts = pd.DataFrame({name: [12.0]})
    found = explain_in_words(parts((1,), columns=(name,)), accounts, terms_of({name: 310.0}), Reasons(count=1))
    assert found.iloc[0].tolist() == ["LOGIN_COUNT_P1M_LOW", "Login count past month is low: 12, typical 310"]


@pytest.mark.parametrize(
    ("column", "code"),
    [
        ("monthly fee (EUR)", "MONTHLY_FEE_EUR_LOW"),
        ("größe", "GRÖSSE_LOW"),
        ("{0.__class__}", "0___CLASS_LOW"),
        ("=cmd|' /C calc'!A0", "CMD_C_CALC_A0_LOW"),
        ("%", "COLUMN_LOW"),
        ("_", "COLUMN_LOW"),
        ("", "COLUMN_LOW"),
    ],
)
def test_columns_with_odd_characters(column: str, code: str) -> None:
    accounts = pd.DataFrame({column: [1.0]})
    reasons = Reasons(count=1, texts=[{"column": column, "high": "never shown"}])
    found = explain_in_words(parts((1,), columns=(column,)), accounts, terms_of({column: 2.0}), reasons)
    assert found["reason_1_code"].tolist() == [code]
    assert found["reason_1"].iloc[0].endswith(" is low: 1, typical 2")


def test_different_columns_have_different_codes() -> None:
    columns = ("a b", "a-b", "a_b")
    accounts = pd.DataFrame(1.0, index=[0], columns=list(columns))
    found = explain_in_words(
        parts((3, 2, 1), columns=columns), accounts, terms_of(dict.fromkeys(columns, 2.0)), Reasons()
    )
    assert found.filter(like="_code").iloc[0].tolist() == ["A_B_LOW", "A_B_2_LOW", "A_B_3_LOW"]


def test_typical_values_are_medians_and_the_most_frequent_known_categories(
    model: ChurnModel, canonical: pd.DataFrame
) -> None:
    typical = typical_values(model.encoder, model.reference)
    assert list(typical) == list(model.encoder.columns)
    assert typical["login_count_p1m"] == canonical["login_count_p1m"].median()
    assert typical["operating_country"] == canonical["operating_country"].mode()[0] == "us"


def test_only_known_categories_are_typical() -> None:
    encoder = Encoder(numeric=(), ratios=(), medians={}, missing=frozenset(), vocabularies={PLAN: ("b", "c"), "x": ()})
    profile = Profile(
        rows=9,
        categorical={PLAN: CategoricalProfile(("a", "b", "c"), (5, 2, 2)), "x": CategoricalProfile(("rare",), (1,))},
    )
    assert typical_values(encoder, profile) == {PLAN: "b", "x": "unknown"}


@pytest.mark.parametrize(
    "template",
    [
        "{value.__class__}",
        "{value.__class__.__mro__[1]}",
        "{typical[0]}",
        "{0}",
        "{}",
        "{value!r:>1000000}",
        "{value:>1000000}",
        "{value!r}",
        "{value:{typical}}",
        "{ value}",
        "{account_id}",
        "{value",
        "value}",
        "{value}}",
        "{value!}",
        "{{value}",
        "",
        "  ",
    ],
)
def test_a_sentence_that_cannot_be_written_is_refused(template: str) -> None:
    for case in ("high", "low", "category", "missing"):
        reasons = Reasons(texts=[{"column": LOGINS, case: template}])
        with pytest.raises(ChurnError, match=rf"reasons\.texts\[0\]\.{case} = "):
            check_texts(reasons, [LOGINS])


@pytest.mark.parametrize(
    "template", ["plain", "{value}", "{typical} and {value} and {value}", "{{}}", "{{{value}}}", "100 %s %(x)s $value"]
)
def test_a_sentence_that_can_be_written_is_let_through(template: str) -> None:
    check_texts(Reasons(texts=[{"column": LOGINS, "low": template}]), [LOGINS])


def test_all_faults_are_listed_before_any_work() -> None:
    reasons = Reasons(
        texts=[
            {"column": LOGINS, "low": "{value.__class__}", "high": "{valeu}"},
            {"column": "lugins", "low": "ok"},
            {"column": LOGINS, "missing": "{"},
        ]
    )

    def explain(rows: pd.DataFrame) -> pd.DataFrame:
        raise AssertionError("explained before the sentences were checked")

    with pytest.raises(ParametersError):
        explain_accounts(explain, table([(1, 1, "plus")]), [0.9], TYPICAL, reasons)
    with pytest.raises(ParametersError) as caught:
        check_texts(reasons, TYPICAL.names)
    assert caught.value.faults == [
        "reasons.texts[0].high = '{valeu}': {valeu} is not a placeholder; use {value} or {typical}",
        (
            "reasons.texts[0].low = '{value.__class__}': {value.__class__} is not a placeholder; "
            "use {value} or {typical}"
        ),
        "reasons.texts[1].column = 'lugins': not a column that can be a reason; choose from logins, seats, plan",
        "reasons.texts[2].column = 'logins': occurs more than once; give all sentences of a column in one entry",
        (
            "reasons.texts[2].missing = '{': broken braces (Single '{' encountered in format string); "
            "write {value} or {typical}, and {{ or }} for a brace"
        ),
    ]


def test_a_long_sentence_is_cut_in_the_message() -> None:
    with pytest.raises(ParametersError) as caught:
        check_texts(Reasons(texts=[{"column": LOGINS, "low": "{" + "x" * 10_000 + "}"}]), [LOGINS])
    assert len(str(caught.value)) < 400
