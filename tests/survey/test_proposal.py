"""Roles that are proposed for the columns of unknown tables."""

import datetime as dt
from dataclasses import replace

import pandas as pd
import pytest

from churn.errors import FaultsError
from churn.survey import Answers, Proposal, facts_of, propose
from churn.survey.proposal import ROW_NUMBER
from tests.survey.tables import AS_OF, customers


def proposal(frame: pd.DataFrame, answers: Answers | None = None) -> Proposal:
    return propose(frame, [facts_of(frame[name]) for name in frame], answers or Answers())


def roles(found: Proposal) -> dict[str, str]:
    return {each.name: each.role for each in found.columns}


def test_a_column_of_every_kind() -> None:
    found = proposal(customers())
    assert roles(found) == {
        "Customer No": "id",
        "Name": "carry",
        "E-Mail": "carry",
        "Account Manager": "carry",
        "Joined On": "dates",
        "Contract End": "dates",
        "Plan": "categorical",
        "Visits": "numeric",
        "Monthly Fee": "numeric",
        "Postcode": "categorical",
        "Country": "left_out",
        "Comment": "left_out",
        "Cancelled On": "left_out",
        "Churn Reason": "left_out",
        "Churn Score": "left_out",
        "Annual Value": "numeric",
        "Left": "label",
    }
    assert {each.name for each in found.columns if each.suspected} == {"Cancelled On", "Churn Reason", "Churn Score"}
    assert found.label is not None
    assert (found.label.positive, found.label.negative, found.label.sure) == (("Yes",), ("No",), "sure")
    assert (found.as_of, found.value) == (AS_OF, "Annual Value")  # dates that lie ahead are no date of the snapshot


@pytest.mark.parametrize(
    ("name", "values", "positive", "negative", "drop"),
    [
        ("Churn", ["1", "0"], "1", "0", ()),
        ("Exited", [True, False], "true", "false", ()),
        ("retained", ["1", "0"], "0", "1", ()),
        ("is_active", ["Y", "N"], "N", "Y", ()),
        ("Attrition_Flag", ["Attrited Customer", "Existing Customer"], "Attrited Customer", "Existing Customer", ()),
        ("Customer Status", ["Churned", "Stayed", "Joined"], "Churned", "Stayed", ("Joined",)),
        ("Gekündigt", ["Ja", "Nein"], "Ja", "Nein", ()),
        ("status", ["gekündigt", "aktiv"], "gekündigt", "aktiv", ()),
    ],
)
def test_labels(name: str, values: list[object], positive: str, negative: str, drop: tuple[str, ...]) -> None:
    rows = 60
    frame = pd.DataFrame(
        {
            "id": [f"a{row}" for row in range(rows)],
            "Gender": ["m", "f"] * (rows // 2),
            "visits": [row % 7 for row in range(rows)],
            name: [values[row % len(values)] for row in range(rows)],
        }
    )
    label = proposal(frame).label
    assert label is not None
    assert (label.column, label.positive, label.negative, label.drop) == (name, (positive,), (negative,), drop)
    assert label.sure in ("sure", "likely")


def test_no_label_is_no_guess() -> None:
    frame = customers().drop(columns=["Left", "Churn Reason", "Cancelled On", "Churn Score"])
    assert proposal(frame).label is None
    unclear = proposal(frame.assign(Status=["gold", "silver", "lead", "x"] * 100)).label
    assert unclear is not None
    assert unclear.open == ("gold", "silver", "lead", "x")
    said = proposal(frame.assign(Status=["gold", "silver"] * 200), Answers(label="Status", positive=("Gold",))).label
    assert said is not None
    assert (said.positive, said.negative, said.open) == (("gold",), ("silver",), ())


def test_a_person_knows_better() -> None:
    answers = Answers(
        id="E-Mail",
        roles={"Visits": "left_out", "Churn Score": "numeric", "Plan": "carry"},
        as_of="2024-12-31",
        value="Monthly Fee",
        currency="EUR",
    )
    found = proposal(customers(), answers)
    assert found.id == "E-Mail"
    assert {name: roles(found)[name] for name in answers.roles} == answers.roles
    assert (found.as_of, found.value, found.value_sure, found.currency) == (
        dt.date(2024, 12, 31),
        "Monthly Fee",
        "given",
        "EUR",
    )
    with pytest.raises(FaultsError) as error:
        proposal(customers(), Answers(id="Costumer No", roles={"Visit": "left_out"}))
    assert "--id Costumer No: the table has no such column; did you mean Customer No?" in str(error.value)
    assert "--left-out Visit" in str(error.value)


def test_many_values_that_several_rows_share_are_categories() -> None:
    table = customers(1200)
    table["Depot"] = [f"depot {row % 240}" for row in range(len(table))]
    table["Voucher"] = [f"voucher {row % 600}" for row in range(len(table))]
    found = {each.name: each for each in proposal(table).columns}
    assert found["Depot"].role == "categorical"
    assert found["Voucher"].role == "left_out"
    assert "most rows with one that fewer than 4 rows have" in found["Voucher"].why


def test_tables_without_an_id() -> None:
    frame = customers().drop(columns=["Customer No", "Name", "E-Mail"])
    assert proposal(frame).id == ROW_NUMBER
    again = customers().assign(**{"Customer No": "K-1"})
    assert proposal(again.drop(columns=["Name", "E-Mail"])).id == ROW_NUMBER
    nearly = customers()
    nearly.loc[3, "Customer No"] = nearly.loc[2, "Customer No"]
    found = proposal(nearly)
    assert found.id == "Customer No"
    assert "1 rows repeat an earlier one" in found.columns[0].why
    nearly.loc[5, "Customer No"] = None
    broken = proposal(nearly.drop(columns=["Name", "E-Mail"]))
    assert (broken.id, roles(broken)["Customer No"]) == (ROW_NUMBER, "carry")


def test_a_snapshot_in_a_column() -> None:
    frame = customers().assign(**{"Snapshot Date": "2024-07-01"})
    found = proposal(frame)
    assert (found.as_of, roles(found)["Snapshot Date"]) == ("Snapshot Date", "as_of")


def test_a_column_that_only_churned_accounts_have() -> None:
    frame = customers()
    frame = frame.assign(Refund=frame["Left"].map({"Yes": 12.5, "No": None}).where(frame["Visits"] < 2))
    found = next(each for each in proposal(frame).columns if each.name == "Refund")
    assert (found.role, found.suspected) == ("left_out", True)
    assert replace(found).facts.missing > 0


@pytest.mark.parametrize(
    ("name", "currency"),
    [("Umsatz (€)", "EUR"), ("fee in CHF", "CHF"), ("Revenue [US$]", "USD"), ("price_usd", "USD"), ("Aufeuro", None)],
)
def test_a_currency_in_the_name_of_a_column(name: str, currency: str | None) -> None:
    assert proposal(customers().rename(columns={"Monthly Fee": name})).currency == currency
