"""Whatever comes is answered, and never with a fault of the service: documents that the interface nearly describes, and noise."""

import asyncio
import collections
import gc
import json
import time
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from churn.config import Parameters
from churn.model import ChurnModel
from tests.serving.driving import Driven, called
from tests.serving.hostile import places, put, requests_of, statuses
from tests.serving.test_protocol import Listening

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


def test_hostile_bytes_are_answered_or_closed_and_leave_nothing_behind(
    parameters: Parameters, model: ChurnModel
) -> None:
    driven = Driven(parameters, model, serve={"seconds": 2.0})
    good = examples(driven)
    expected = driven.ask("POST", "/v1/score", good["/v1/score"]).json["scores"]
    listening = Listening(driven)
    own = psutil.Process()
    try:
        found: dict[str, set[int]] = collections.defaultdict(set)
        files = 0
        for number, hostile in enumerate(requests_of(good, 320)):
            found[hostile.kind].update(statuses(listening.port, hostile, 30.0))
            files = own.num_fds() if number == 40 else files
        told = {status for each in found.values() for status in each}
        assert told <= {100, 200, 202, 400, 401, 404, 405, 413, 415, 421, 422, 503}, found
        # Nothing was published here.
        assert all(503 not in each for kind, each in found.items() if kind != "other paths and methods"), found
        assert found["a gzip bomb"] == {415}
        deadline = time.monotonic() + 30.0
        while (own.num_fds() > files + 4 or driven.service._in_hand) and time.monotonic() < deadline:
            gc.collect()
            time.sleep(0.02)
        assert own.num_fds() <= files + 4
        assert driven.service._in_hand == 0
        assert driven.ask("POST", "/v1/score", good["/v1/score"]).json["scores"] == expected
    finally:
        listening.close()


def test_what_schemathesis_makes_of_the_interface_is_answered(driven: Driven) -> None:
    schemathesis = pytest.importorskip("schemathesis")
    document = driven.get("/openapi.json").json
    allowed = {
        (path, method.upper()): {int(status) for status in operation["responses"] if status.isdigit()}
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    operations = [found.ok() for found in schemathesis.openapi.from_dict(document).get_all_operations()]
    assert {(each.path, each.method.upper()) for each in operations} == set(allowed)

    for operation in operations:
        modes = schemathesis.GenerationMode
        kinds = [operation.as_strategy(generation_mode=mode) for mode in (modes.POSITIVE, modes.NEGATIVE)]

        @settings(max_examples=25, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(case=st.one_of(kinds))
        def ask(case: Any) -> None:
            sent = case.as_transport_kwargs(base_url="http://127.0.0.1")
            path = str(sent["url"]).removeprefix("http://127.0.0.1")
            body = json.dumps(sent["json"]).encode() if "json" in sent else sent.get("data") or b""
            headers = {"content-type": "application/json"}
            answer = driven.ask(case.method, path or "/", body if isinstance(body, bytes) else b"", headers=headers)
            assert answer.status in allowed[operation.path, case.method.upper()] | {404, 405}, (path, answer.content)  # noqa: B023

        ask()
