"""Roles that need more than a word in a name: what the cells show decides too."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest

from churn.config import AccountSchema
from churn.survey import Answers, Proposal, facts_of, propose
from churn.survey.environment import accounts_of
from churn.survey.roles import ColumnProposal

ROWS = 600
DRAW = np.random.default_rng(3)


def proposal(answers: Answers | None = None, **columns: Sequence[object]) -> Proposal:
    left = ["Yes" if row % 4 == 0 else "No" for row in range(ROWS)]
    frame = pd.DataFrame({"Customer No": [f"K-{row}" for row in range(ROWS)], **columns, "Churn": left})
    return propose(frame, [facts_of(frame[name]) for name in frame], answers or Answers())


def found(name: str, values: Sequence[object]) -> ColumnProposal:
    return next(each for each in proposal(**{name: values}).columns if each.name == name)


def drawn(different: int, start: int = 0, step: int = 1) -> list[int]:
    return (start + step * DRAW.integers(0, different, ROWS)).tolist()


@pytest.mark.parametrize(
    ("name", "values", "role"),
    [
        # An index that is a measure, and two that number the rows.
        ("consumer_price_index", np.round(DRAW.random(ROWS), 3).tolist(), "numeric"),
        ("Body Mass Index", drawn(25, 18), "numeric"),
        ("Unnamed: 0", DRAW.permutation(ROWS).tolist(), "left_out"),
        ("level_0", list(range(0, 3 * ROWS, 3)), "left_out"),
        # Areas are sizes, or codes.
        ("Floor Area", drawn(500, 400), "numeric"),
        ("garden_area", [0] * 400 + drawn(400, 10)[:200], "numeric"),
        ("branch_distance", drawn(30), "numeric"),
        ("postcode_income", drawn(500), "numeric"),
        ("area", [408, 415, 510] * 200, "categorical"),
        ("Branch No", drawn(20, 100), "categorical"),
        ("PLZ", drawn(40, 10115), "categorical"),
        ("postal", drawn(5000, 10000), "left_out"),
        # Who owns something, and who looks after the account.
        ("BoatOwner", ["yes", "no"] * 300, "categorical"),
        ("HomeOwnership", ["rent", "own", "mortgage"] * 200, "categorical"),
        ("is_manager", ["Y", "N", "unknown"] * 200, "categorical"),
        ("Pet Owner Type", ["cat", "dog", "fish"] * 200, "categorical"),
        ("account_owner", ["Ana", "Bo", "Chi"] * 200, "carry"),
        ("Sales Rep", ["Ana", "Bo", "Chi"] * 200, "carry"),
        ("Kundenbetreuer", ["Ana", "Bo", "Chi"] * 200, "carry"),
        # Names of things return, names of people hardly.
        ("branch_name", [f"branch {row % 40}" for row in range(ROWS)], "categorical"),
        ("phone_model", [f"model {row % 90}" for row in range(ROWS)], "categorical"),
        ("contact_name", [f"person {row}" for row in range(ROWS)], "carry"),
        ("Surname", [f"name {row % 90}" for row in range(ROWS)], "carry"),
        ("customer_name", [f"person {row % 100}" for row in range(ROWS)], "carry"),
        # Numbers that name something.
        ("store_id", drawn(30, 9000), "categorical"),
        ("AgentID", drawn(30, 9000), "categorical"),
        ("employee_nbr", drawn(30, 9000), "categorical"),
        ("sessionid", drawn(100_000, 9000), "left_out"),
        ("number_of_orders", drawn(9), "numeric"),
        ("children_no", drawn(4), "numeric"),
        ("paid", drawn(200), "numeric"),
        # Answers of a form are long, but few.
        ("answer", ["a bachelor's degree or several years of training", "a master's degree or a doctorate"] * 300, "categorical"),
    ],
)  # fmt: skip
def test_what_the_cells_show_decides(name: str, values: Sequence[object], role: str) -> None:
    each = found(name, values)
    assert each.role == role, each.why
    assert not each.suspected


@pytest.mark.parametrize("mark", ["?", "-", "unknown", "n/k"])
def test_marks_for_missing_values_in_numbers(mark: str) -> None:
    values = [mark if row % 3 == 0 else str(row % 50) for row in range(ROWS)]
    each = found("height", values)
    assert (each.role, each.facts.missing) == ("numeric", 200)
    assert f"{mark!r} read as missing" in each.why
    assert mark in accounts_of(proposal(height=values), Answers(), None)["missing"]


def test_marks_for_missing_values_in_categories() -> None:
    values = ["?", "north", "south"] * 200
    each = found("region", values)
    assert (each.role, each.facts.missing, each.facts.different) == ("categorical", 200, 2)
    assert "'?' read as missing" in each.why
    accounts = accounts_of(proposal(region=values, blood=["A+", "-", "B"] * 200), Answers(), None)
    assert accounts["missing_text"] == ["?"]
    # A dash beside a plus is a value, and then it is one in every column.
    both = proposal(sign=["+", "-", "0"] * 200, region=["-", "north", "south"] * 200)
    assert "missing_text" not in accounts_of(both, Answers(), None)
    assert not any("read as missing" in column.why for column in both.columns)


def test_a_mark_in_the_label_is_an_outcome_that_is_not_known() -> None:
    frame = pd.DataFrame(
        {
            "id": [f"K-{row}" for row in range(ROWS)],
            "region": ["?", "north", "south"] * 200,
            "Churn": ["Yes", "No", "?", "No"] * 150,
        }
    )
    told = propose(frame, [facts_of(frame[name]) for name in frame], Answers())
    assert told.label is not None
    assert (told.label.unknown, told.label.open) == (("?",), ())
    accounts = AccountSchema.model_validate(accounts_of(told, Answers(), None))
    assert accounts.label.unknown == ("?", "")


@pytest.mark.parametrize(
    ("others", "role"),
    [
        ([f"V{code}" for code in range(10, 40)], "categorical"),  # too many to mean missing
        (["V57", "E909", "V57", "E909"] * 5, "categorical"),  # codes, in too many rows for a slip
        (["n.k.", "none given"] * 10, "numeric"),
        (["12O", "7l"], "numeric"),  # slips of the pen
    ],
)
def test_texts_in_a_column_of_numbers(others: list[str], role: str) -> None:
    numbers = [str(number) for number in drawn(90, 250)]
    each = found("diagnosis", others + numbers[len(others) :])
    assert each.role == role
    if role == "numeric":
        assert set(each.facts.words) == set(others)


def test_rare_texts_are_looked_at_in_all_rows() -> None:
    rows = 5000
    numbers = [f"{number / 7:.4f}" for number in range(rows - 30)]
    facts = facts_of(pd.Series([*numbers, *(f"x{row}" for row in range(30))], name="amount"))
    assert (facts.kind, facts.mixed) == ("texts", "x0")


@pytest.mark.parametrize("name", ["arr_time", "arr_delay", "Lifetime", "annual_mileage", "yearly income"])
def test_what_is_no_value_of_an_account(name: str) -> None:
    assert proposal(**{name: drawn(500, 1)}).value is None


VALUES = ("ARR", "arr_eur", "Customer LTV", "annual_revenue", "Lifetime Value", "Jahresumsatz", "ACV 2024")


@pytest.mark.parametrize("name", VALUES)
def test_what_is_the_value_of_an_account(name: str) -> None:
    assert proposal(**{name: drawn(500, 1)}).value == name


@pytest.mark.parametrize("name", ["booking_status_date", "decision_on", "case closed at", "churn_flag_set"])
def test_dates_of_an_outcome(name: str) -> None:
    days = pd.date_range("2023-01-01", periods=ROWS).strftime("%Y-%m-%d").tolist()
    each = found(name, days)
    assert (each.role, each.suspected) == ("left_out", True)


@pytest.mark.parametrize("name", ["attended_on", "statement_date", "joined", "recommended_at"])
def test_dates_of_other_things(name: str) -> None:
    days = pd.date_range("2023-01-01", periods=ROWS).strftime("%Y-%m-%d").tolist()
    assert found(name, days).role == "dates"


@pytest.mark.parametrize(("placeholder", "shown"), [("1904-01-01", "2019-01-01"), ("01.01.1900", "2019-01-01")])
def test_dates_that_stand_for_none(placeholder: str, shown: str) -> None:
    days = pd.date_range("2019-01-01", periods=ROWS - 20).strftime("%Y-%m-%d").tolist()
    each = found("first_order", [placeholder] * 20 + days)
    assert (each.role, each.facts.lowest, each.facts.missing) == ("dates", shown, 20)
    assert f"{placeholder!r} read as missing" in each.why
    # Beside other early dates it is one.
    old = pd.date_range("1902-01-01", periods=ROWS - 20, freq="40D").strftime("%Y-%m-%d").tolist()
    assert found("born", ["1900-01-01"] * 20 + old).facts.lowest == "1900-01-01"


@pytest.mark.parametrize("name", ["marital-status", "employment_status", "smoking state"])
def test_the_state_of_something_else_is_no_label(name: str) -> None:
    frame = pd.DataFrame({"id": [f"K-{row}" for row in range(ROWS)], name: ["a", "b", "c"] * 200, "x": drawn(90)})
    assert propose(frame, [facts_of(frame[each]) for each in frame], Answers()).label is None


@pytest.mark.parametrize(("positive", "negative"), [("0", "1"), ("no", "yes"), ("active", "churned")])
def test_a_person_who_names_the_churned_has_named_all(positive: str, negative: str) -> None:
    frame = pd.DataFrame({"id": [f"K-{row}" for row in range(ROWS)], "ACTION": [positive, negative, negative] * 200})
    answers = Answers(label="ACTION", positive=(positive,))
    label = propose(frame, [facts_of(frame[each]) for each in frame], answers).label
    assert label is not None
    assert (label.positive, label.negative, label.open) == ((positive,), (negative,), ())


@pytest.mark.parametrize("name", ["left_handed", "quit_smoking", "cancelled_before", "lost_card"])
def test_a_word_for_leaving_is_no_outcome_in_other_words(name: str) -> None:
    other = ["yes" if row % 5 == 0 else "no" for row in range(ROWS)]
    assert found(name, other).role == "categorical"
    same = ["yes" if row % 4 == 0 else "no" for row in range(ROWS)]
    each = found(name, same)
    assert (each.role, each.suspected) == ("left_out", True)


def test_numbers_of_rows_with_a_repetition_name_no_account() -> None:
    frame = pd.DataFrame({"RowNumber": [*range(ROWS - 1), 7], "Churn": ["Yes", "No", "No"] * 200})
    each = propose(frame, [facts_of(frame[name]) for name in frame], Answers(id="row_number")).columns[0]
    assert (each.role, each.why) == ("left_out", "numbers the rows: 599 different values")
