"""The schema of the account table: what it accepts, refuses and stores."""

from typing import Any

import pytest
from pydantic import ValidationError

from churn.config import AccountSchema
from churn.config.published import LIST_COLUMNS, SCORE_COLUMNS, is_published
from churn.config.schema import MISSING_NUMBERS, Label


def schema_of(**changes: Any) -> AccountSchema:
    return AccountSchema.model_validate({"id": "key", "label": {"column": "left"}, "numeric": ["size"], **changes})


def label_of(**values: Any) -> Label:
    return Label.model_validate({"column": "left", **values})


@pytest.mark.parametrize("name", [*SCORE_COLUMNS, *LIST_COLUMNS, "reason_1", "reason_12_code", "Probability"])
def test_an_id_with_the_name_of_a_published_column_is_refused(name: str) -> None:
    assert is_published(name)
    with pytest.raises(ValidationError, match=f"the id cannot be called '{name}'.* Rename the column in the table"):
        schema_of(id=name)


@pytest.mark.parametrize("name", ["reason", "reason_1_text", "account_id", "probability_1", "as_of_date"])
def test_other_names_are_free(name: str) -> None:
    assert schema_of(id=name).id == name


def test_a_feature_may_be_called_like_a_published_column() -> None:
    assert schema_of(numeric=["account_value", "probability"]).numeric_names == ("account_value", "probability")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"positive": "yes", "drop": ["no", "YES "]}, "the value 'YES ' is in positive and in drop"),
        ({"positive": 1, "negative": "true"}, "the value 'true' is in positive and in negative"),
        ({"unknown": ["?"], "drop": "?"}, r"the value '\?' is in unknown and in drop"),
        ({"positive": []}, "positive needs a value"),
        ({"positive": " "}, "positive needs a value"),
        ({"negative": []}, "negative needs a value"),
        ({"negative": ["no", ""]}, "negative needs a value"),
    ],
)
def test_a_label_value_has_one_meaning(values: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValidationError, match=expected):
        label_of(**values)


def test_label_values_are_one_or_several() -> None:
    label = label_of(positive=["Churned", 2], negative=False, unknown="pending", drop=["Joined"])
    assert (label.positives, label.negatives) == (("Churned", "2"), ("False",))
    assert (label.unknown, label.drop) == (("pending",), ("Joined",))
    assert label_of().negatives is None


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["-", -999], ("", "-", "-999")),
        ([], ("",)),
        ("-", ("", "-")),
        ([None, float("nan")], ("", "null", "nan")),
        (["x", ""], ("", "x")),
    ],
)
def test_a_blank_cell_is_always_missing(given: Any, expected: tuple[str, ...]) -> None:
    assert schema_of(missing=given).missing == expected
    assert schema_of(missing_text=given).missing_text == expected


def test_fields_of_later_versions_are_stored_only_if_they_are_set() -> None:
    stored = schema_of().model_dump(mode="json")
    assert set(stored) == {"id", "label", "numeric", "categorical", "left_out", "not_above", "strict"}
    assert stored["label"] == {"column": "left", "positive": "True"}
    assert schema_of(missing=list(MISSING_NUMBERS)).model_dump(mode="json") == stored
    own = schema_of(
        label={"column": "left", "positive": ["a", "b"], "negative": "c", "unknown": "?", "drop": ["d"]},
        missing=["-"],
        missing_text=["n/a"],
    )
    assert AccountSchema.model_validate(own.model_dump(mode="json")) == own
    assert own.model_dump(mode="json")["missing"] == ["", "-"]


def test_other_columns_to_carry_do_not_make_another_model() -> None:
    plain, own = schema_of(left_out=["since"]), schema_of(left_out=["since"], carry=["name", "owner"])
    assert own.for_model == plain == plain.for_model
    assert "carry" not in own.for_model.model_dump()
    assert own.text_columns == ("key", "left", "name", "owner")
    # A strict schema names each column that a table may have.
    assert schema_of(carry=["name"], strict=True).for_model.left_out == ("name",)


def test_carried_columns_have_one_role_and_free_names() -> None:
    with pytest.raises(ValidationError, match="named more than once: size"):
        schema_of(carry=["size"])
    with pytest.raises(ValidationError, match="a carried column cannot be called 'suggested_action'"):
        schema_of(carry=["suggested_action"])
