"""Published columns become those of a target: named, typed, rounded; what cannot be is named with the way out."""

from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pytest

from churn.config import SqlTarget
from churn.delivery.columns import fields_of, mapped
from churn.delivery.published import Run
from churn.delivery.target import Occasion
from churn.errors import ChurnError
from tests.delivery.worlds import list_of, scores_of

SCORES = scores_of(3)
PUBLISHED = pa.schema(
    [*SCORES.schema, *[each for each in list_of(SCORES, 1).schema if each.name not in SCORES.schema.names]]
)
OCCASION = Occasion(Run("a-run", 4, "2026-11-28", "2026-11-28T01:02:03+00:00"), datetime(2026, 11, 29, tzinfo=UTC), "t")


def target(*columns: dict[str, Any], **settings: Any) -> SqlTarget:
    return SqlTarget.model_validate({"name": "crm", "kind": "sql", "table": "t", "columns": columns, **settings})


def converted(values: Any, **column: Any) -> list[Any]:
    """The values of a column of the target."""
    rows = pa.table({"account_id": [str(number) for number in range(len(values))], "x": values})
    fields = fields_of(target({"source": "account_id"}, {"source": "x", **column}), rows.schema, "account_id")
    found: list[Any] = mapped(rows, fields, OCCASION.values)[column.get("name", "x")].to_pylist()
    return found


def test_all_columns_go_under_their_own_names_unless_some_are_named() -> None:
    fields = fields_of(target(), PUBLISHED, "account_id", flagged=True)
    names = [field.name for field in fields.all]
    assert names[:5] == SCORES.column_names
    assert {"expected_profit", "recommended_action", "reason_1", "run_id", "as_of", "delivered_at", "removed"} <= set(
        names
    )
    quiet = {field.name for field in fields.all if not field.matters}
    assert quiet == {"model_version", "run_id", "as_of", "delivered_at", "removed"}


def test_the_values_of_the_run_are_in_every_row() -> None:
    columns = [
        {"source": name} for name in ("account_id", "run_id", "as_of", "published_at", "delivered_at", "removed")
    ]
    fields = fields_of(target(*columns), PUBLISHED, "account_id")
    assert mapped(SCORES, fields, OCCASION.values).to_pylist()[2] == {
        "account_id": SCORES["account_id"][2].as_py(),
        "run_id": "a-run",
        "as_of": date(2026, 11, 28),
        "published_at": datetime(2026, 11, 28, 1, 2, 3, tzinfo=UTC),
        "delivered_at": datetime(2026, 11, 29, tzinfo=UTC),
        "removed": False,
    }


@pytest.mark.parametrize(
    ("values", "column", "expected"),
    [
        (pa.array([0.1, 0.044155788], pa.float32()), {}, [0.1, 0.044155788]),
        (pa.array([0.126, None]), {"decimals": 2}, [0.13, None]),
        (["yes", "No", None, "1"], {"type": "boolean"}, [True, False, None, True]),
        (pa.array([1, 0], pa.int8()), {"type": "boolean"}, [True, False]),
        (["2026-01-02", None], {"type": "date"}, [date(2026, 1, 2), None]),
        ([1.5, None], {"type": "text"}, ["1.5", None]),
        (pa.array([7, 8], pa.int8()), {"type": "real", "name": "y"}, [7.0, 8.0]),
        (pa.array(["a", "", None]).dictionary_encode(), {}, ["a", "", None]),
        (pa.array([3.0, 4.0]), {"type": "integer"}, [3, 4]),
        (["\u00e9\n\"'", "\U0001f600"], {}, ["\u00e9\n\"'", "\U0001f600"]),
    ],
)
def test_values_are_converted(values: Any, column: dict[str, Any], expected: list[Any]) -> None:
    assert converted(values, **column) == expected


@pytest.mark.parametrize(
    ("values", "kind"), [(["maybe"], "boolean"), ([1.5], "integer"), (["soon"], "date"), (["high"], "real")]
)
def test_what_cannot_be_converted_is_named(values: Any, kind: str) -> None:
    with pytest.raises(ChurnError, match=f"column x .*{kind}"):
        converted(values, type=kind)


def test_every_unknown_column_is_named_at_once() -> None:
    wrong = target({"source": "probabilty"}, {"source": "expected_proft"})
    with pytest.raises(ChurnError) as caught:
        fields_of(wrong, PUBLISHED, "account_id")
    assert all(word in str(caught.value) for word in ("did you mean probability", "mean expected_profit", "account_id"))


def test_with_a_tolerance_the_profit_that_follows_the_probability_does_not_matter() -> None:
    fields = fields_of(target(tolerance=0.05), PUBLISHED, "account_id")
    assert not next(field for field in fields.all if field.source == "expected_profit").matters
    loud = fields_of(target({"source": "account_id"}, {"source": "run_id", "matters": True}), PUBLISHED, "account_id")
    assert loud.all[1].matters
