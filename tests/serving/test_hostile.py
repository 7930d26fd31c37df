"""Whatever comes is answered, and never with a fault of the service: documents that the interface nearly describes, and noise."""

import asyncio
import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.serving.driving import Driven, called

LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(10**300, 10**310), st.floats(), st.text(max_size=12)
)
DOCUMENTS = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
PATHS = ("/v1/score", "/v2/models/churn/infer")


def examples(driven: Driven) -> dict[str, Any]:
    document = driven.get("/openapi.json").json
    found = {
        path: document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["example"] for path in PATHS
    }
    return {path: json.loads(json.dumps(each)) for path, each in found.items()}


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a document."""
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(each for key, inner in below for each in places(inner, (*path, key)))]


def put(document: Any, place: tuple[Any, ...], value: Any) -> Any:
    if not place:
        return value
    holder = document
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = value
    return document


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(data=st.data())
def test_documents_that_are_nearly_right(driven: Driven, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(PATHS))
    document = examples(driven)[path]
    for _ in range(data.draw(st.integers(1, 3))):
        document = put(document, data.draw(st.sampled_from(places(document))), data.draw(DOCUMENTS))
    answer = driven.ask("POST", path, json.dumps(document).encode())
    assert answer.status in (200, 400, 413, 422), answer.content
    assert driven.service._in_hand == 0


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "HEAD", "OPTIONS", "x"]),
    path=st.sampled_from(["/v1/score", "/v1/accounts/", "/v1/accounts/%00%FF", "/", "//", "/docs", "/v2", "/events"]),
    rest=st.text(st.characters(max_codepoint=255), max_size=8),
    body=st.binary(max_size=64),
    header=st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=20),
)
def test_noise(driven: Driven, method: str, path: str, rest: str, body: bytes, header: str) -> None:
    headers = {"authorization": header, "content-length": header}
    answer = asyncio.run(called(driven.service, method, path + rest, body, headers))
    assert answer is not None
    # Nothing was published here.
    assert answer.status < 500 or (answer.status == 503 and path.startswith("/v1/accounts"))


def test_the_examples_of_the_interface_are_answered(driven: Driven) -> None:
    for path, content in examples(driven).items():
        assert driven.ask("POST", path, content).status == 200
