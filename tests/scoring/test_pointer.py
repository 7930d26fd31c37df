"""The order of publications, and pointers that are damaged."""

import uuid
from typing import Any

import pytest

from churn.scoring.pointer import Pointer, is_run_id, marked, next_pointer, read_pointer
from churn.stores import DamagedError

A, B, C = (str(uuid.UUID(int=number)) for number in (1, 2, 3))


def test_each_publication_has_the_next_number_whatever_the_clocks_say() -> None:
    first = next_pointer(None, A, "2036-01-01T00:00:00+00:00")
    second = next_pointer(read_pointer(first, "latest.json"), B, "2026-01-01T00:00:00+00:00")
    assert (first["sequence"], second["sequence"]) == (1, 2)
    assert second["run_id"] == B
    assert second["manifest"] == f"{B}/manifest.json"


@pytest.mark.parametrize("sequence", [None, "7", -1, True, 1.5, [], {}])
def test_a_sequence_that_is_none_counts_as_none(sequence: Any) -> None:
    assert read_pointer({"run_id": A, "sequence": sequence}, "latest.json").sequence == 0


def test_a_pointer_of_an_earlier_version_and_one_without_a_time_are_read() -> None:
    old = {"run_id": A, "manifest": f"{A}/manifest.json", "published_at": "2026-01-31T09:00:00.000000+00:00"}
    assert read_pointer(old, "latest.json") == Pointer(A)
    assert read_pointer({"run_id": A, "published_at": None}, "latest.json") == Pointer(A)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ([], "is not a JSON object"),
        (None, "is not a JSON object"),
        ("x", "is not a JSON object"),
        (7, "is not a JSON object"),
        ({}, "names no run"),
        ({"published_at": None}, "names no run"),
        ({"run_id": None}, "'None' is not a run id"),
        ({"run_id": 7}, "'7' is not a run id"),
        ({"run_id": [A]}, "is not a run id"),
        ({"run_id": "../x"}, "is not a run id"),
        ({"run_id": A.upper().replace("0", "A")}, "is not a run id"),
    ],
)
def test_a_damaged_pointer_gives_the_way_out(document: Any, said: str) -> None:
    with pytest.raises(DamagedError, match=said) as caught:
        read_pointer(document, "s3://results/latest.json")
    assert str(caught.value).startswith("s3://results/latest.json")
    assert "score again with kedro run --pipelines inference" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_marks_of_a_removal_outlive_a_publication() -> None:
    present = read_pointer({"run_id": A, "sequence": 4, "removing": [B, "../x", 7]}, "latest.json")
    assert present.removing == (B,)
    after = next_pointer(present, C, "now")
    assert (after["removing"], after["sequence"]) == ([B], 5)
    assert marked(read_pointer(after, "latest.json"), set()) == {
        name: after[name] for name in after if name != "removing"
    }


def test_run_ids() -> None:
    assert is_run_id(A)
    assert not any(map(is_run_id, ("", "training", None, 7, A.replace("-", ""), f"{A}/", "{" + A + "}")))
