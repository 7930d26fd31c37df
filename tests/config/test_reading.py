"""The format of CSV files as parameters."""

from typing import Any

import pytest
from pydantic import ValidationError

from churn.config import AccountSchema, FileFormat

SCHEMA: dict[str, Any] = {"id": "key", "label": {"column": "left"}, "numeric": ["seats"]}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"delimiter": "tab"}, {"delimiter": "\t"}),
        ({"delimiter": "\\t"}, {"delimiter": "\t"}),
        ({"encoding": "latin1"}, {"encoding": "iso8859-1"}),
        ({"decimal": ",", "thousands": "."}, {"decimal": ",", "thousands": "."}),
        ({"thousands": ""}, {"thousands": ""}),
    ],
)
def test_values(given: dict[str, Any], expected: dict[str, Any]) -> None:
    assert FileFormat(**given).model_dump(exclude_defaults=True) == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"delimiter": ";;"}, "cannot separate cells"),
        ({"delimiter": '"'}, "cannot separate cells"),
        ({"delimiter": "x"}, "cannot separate cells"),
        ({"delimiter": "§"}, "cannot separate cells"),
        ({"decimal": ";"}, "Input should be '.' or ','"),
        ({"encoding": "utf-9"}, "'utf-9' is not an encoding"),
        ({"encoding": "base64"}, "'base64' is not an encoding"),
        ({"title_lines": -1}, "greater than or equal to 0"),
        ({"decimal": ",", "thousands": ","}, "decimal and thousands are both ','"),
        ({"delimiter": ",", "thousands": ","}, "delimiter and thousands are both ','"),
        ({"quote": "'"}, "Extra inputs are not permitted"),
    ],
)
def test_what_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FileFormat(**given)


def test_a_schema_without_a_format_is_stored_as_before() -> None:
    assert "format" not in AccountSchema.model_validate(SCHEMA).model_dump(mode="json")
    given = AccountSchema.model_validate({**SCHEMA, "format": {"delimiter": ";"}})
    assert AccountSchema.model_validate(given.model_dump(mode="json")) == given
