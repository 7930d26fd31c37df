"""The Open Inference Protocol, version 2, which servers and clients of models have in common.

Each column is a tensor of shape [n] or [n, 1]; source: https://github.com/kserve/open-inference-protocol.
"""

from collections.abc import Mapping
from typing import Any

from churn.config import AccountSchema
from churn.model.small import RowScore
from churn.serving.champion import InUse
from churn.serving.forms import Refusal
from churn.serving.scorer import Wish, check_size

NUMBERS = {"FP64", "FP32", "FP16", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", "BOOL"}
OUTPUTS = {"probability": "FP32", "prediction": "INT8", "risk_band": "BYTES"}


def server_metadata(version: str) -> dict[str, Any]:
    """Return what the server is."""
    return {"name": "churn", "version": version, "extensions": []}


def model_metadata(name: str, used: InUse) -> dict[str, Any]:
    """Return inputs and outputs of the model."""
    schema = used.model.schema
    return {
        "name": name,
        "versions": [used.model.version],
        "platform": "churn_xgboost",
        "inputs": [{"name": column, "datatype": kind, "shape": [-1]} for column, kind in _inputs(schema).items()],
        "outputs": [
            {"name": column, "datatype": kind, "shape": [-1]}
            for column, kind in {schema.id: "BYTES", **OUTPUTS}.items()
        ],
    }


def _inputs(schema: AccountSchema) -> dict[str, str]:
    numbers = {item.column for item in schema.numeric}
    return {name: "FP64" if name in numbers else "BYTES" for name in schema.source_columns}


def read_tensors(document: Any, most_rows: int) -> tuple[Wish, str | None, list[str]]:
    """Return the rows of an inference request, its id, and the names of the outputs that it wants (empty for all).

    Raises:
        Refusal: Names the tensor and what is expected.
    """
    if not isinstance(document, Mapping) or not isinstance(document.get("inputs"), list) or not document["inputs"]:
        raise Refusal(400, "invalid_request", "inputs must be a list of one tensor or more")
    name = document.get("id")
    if name is not None and not isinstance(name, str):
        raise Refusal(400, "invalid_request", "id must be a text")
    columns: dict[str, list[Any]] = {}
    for tensor in document["inputs"]:
        column, data = _tensor(tensor)
        if column in columns:
            raise Refusal(400, "invalid_request", f"inputs: {column[:80]!r} occurs more than once")
        columns[column] = data
    counts = {len(data) for data in columns.values()}
    if len(counts) > 1:
        raise Refusal(400, "invalid_request", "inputs: the tensors must have the same number of rows")
    count = counts.pop()
    check_size(count, most_rows)
    if not count:
        raise Refusal(400, "invalid_request", "inputs: the tensors have no rows")
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return Wish(rows), name, _wanted(document.get("outputs"))


def _tensor(tensor: Any) -> tuple[str, list[Any]]:
    if not isinstance(tensor, Mapping) or not isinstance(tensor.get("name"), str):
        raise Refusal(400, "invalid_request", "inputs: each tensor needs name, shape, datatype and data")
    name, shape, data = tensor["name"], tensor.get("shape"), tensor.get("data")
    said = f"inputs: {name[:80]!r}"
    if not isinstance(data, list):
        raise Refusal(400, "invalid_request", f"{said}: data must be a list; binary data is not supported")
    if isinstance(tensor.get("datatype"), str) and tensor["datatype"] not in {*NUMBERS, "BYTES"}:
        raise Refusal(400, "invalid_request", f"{said}: datatype {tensor['datatype'][:20]!r} is not supported")
    if isinstance(shape, list) and len(shape) == 2 and all(isinstance(each, list) and len(each) == 1 for each in data):
        data = [each[0] for each in data]
    expected: list[list[int]] = [[len(data)], [len(data), 1]]
    if shape not in expected:
        raise Refusal(400, "invalid_request", f"{said}: the shape must be [{len(data)}] for its data")
    return name, data


def _wanted(outputs: Any) -> list[str]:
    if outputs is None:
        return []
    if not isinstance(outputs, list) or not all(isinstance(each, Mapping) for each in outputs):
        raise Refusal(400, "invalid_request", "outputs must be a list of objects with a name")
    return [str(each.get("name")) for each in outputs]


def tensors_of(name: str, used: InUse, scores: list[RowScore], request_id: str, wanted: list[str]) -> dict[str, Any]:
    """Return the answer to an inference request.

    Raises:
        Refusal: If it wants an output that there is not.
    """
    columns: dict[str, tuple[str, list[Any]]] = {
        used.model.schema.id: ("BYTES", [score.id for score in scores]),
        "probability": (OUTPUTS["probability"], [score.probability for score in scores]),
        "prediction": (OUTPUTS["prediction"], [score.prediction for score in scores]),
        "risk_band": (OUTPUTS["risk_band"], [score.risk_band for score in scores]),
    }
    if strange := [each for each in wanted if each not in columns]:
        raise Refusal(
            400, "invalid_request", f"outputs: there is no {strange[0][:80]!r}; there are {', '.join(columns)}"
        )
    return {
        "id": request_id,
        "model_name": name,
        "model_version": used.model.version,
        "parameters": {"sha256": used.model.sha256},
        "outputs": [
            {"name": column, "datatype": kind, "shape": [len(data)], "data": data}
            for column, (kind, data) in columns.items()
            if not wanted or column in wanted
        ],
    }
