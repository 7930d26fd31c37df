"""The Open Inference Protocol: metadata, tensors, and its form of errors."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from churn.config import AccountSchema
from churn.model import ChurnModel
from tests.serving.driving import Driven


def tensors(accounts: pd.DataFrame, schema: AccountSchema) -> list[dict[str, Any]]:
    made = []
    for name in (schema.id, *schema.numeric_names, *schema.categorical):
        data = [None if pd.isna(value) else value for value in accounts[name].tolist()]
        kind = "FP64" if name in schema.numeric_names else "BYTES"
        made.append({"name": name, "shape": [len(data)], "datatype": kind, "data": data})
    return made


def test_tensors_in_and_out(driven: Driven, model: ChurnModel, accounts: pd.DataFrame, schema: AccountSchema) -> None:
    some = accounts.head(30)
    inputs = tensors(some, schema)
    inputs[3] = {**inputs[3], "shape": [30, 1], "data": [[value] for value in inputs[3]["data"]]}
    inputs[4] = {**inputs[4], "shape": [30, 1]}
    answer = driven.ask("POST", "/v2/models/churn/infer", {"id": "mine", "inputs": inputs})
    assert answer.status == 200
    content = answer.json
    assert (content["id"], content["model_name"], content["model_version"]) == ("mine", "churn", "1")
    outputs = {output["name"]: output for output in content["outputs"]}
    assert outputs["probability"]["shape"] == [30]
    assert np.float32(outputs["probability"]["data"]).tobytes() == model.probability(some).tobytes()
    assert outputs["account_id"]["data"] == some["account_id"].tolist()
    only = {"inputs": inputs, "outputs": [{"name": "prediction"}]}
    [output] = driven.ask("POST", "/v2/models/churn/infer", only).json["outputs"]
    assert (output["name"], output["datatype"]) == ("prediction", "INT8")


def test_metadata(driven: Driven, schema: AccountSchema) -> None:
    content = driven.get("/v2/models/churn").json
    assert content["versions"] == ["1"]
    assert {each["name"]: each["datatype"] for each in content["inputs"]} == {
        schema.id: "BYTES",
        **dict.fromkeys(schema.numeric_names, "FP64"),
        **dict.fromkeys(schema.categorical, "BYTES"),
    }
    assert driven.get("/v2/models/churn/ready").json == {"name": "churn", "ready": True}
    assert driven.get("/v2").json["name"] == "churn"
    assert driven.get("/v2/models/other").status == 404
    assert driven.ask("POST", "/v2/models/other/infer", {}).status == 404


@pytest.mark.parametrize(
    "content",
    [
        {},
        [],
        {"inputs": {}},
        {"inputs": [5]},
        {"inputs": [{"name": 5, "shape": [1], "datatype": "FP64", "data": [1]}]},
        {"inputs": [{"name": "a", "shape": [2], "datatype": "FP64", "data": [1]}]},
        {"inputs": [{"name": "a", "shape": "2", "datatype": "FP64", "data": [1]}]},
        {"inputs": [{"name": "a", "shape": [1], "datatype": "COMPLEX", "data": [1]}]},
        {"inputs": [{"name": "a", "shape": [1], "datatype": "FP64"}]},
        {"inputs": [{"name": "a", "shape": [0], "datatype": "FP64", "data": []}]},
        {"inputs": [{"name": "a", "shape": [1], "data": [1]}, {"name": "a", "shape": [1], "data": [1]}]},
        {"inputs": [{"name": "a", "shape": [1], "data": [1]}, {"name": "b", "shape": [2], "data": [1, 2]}]},
        {"id": 5, "inputs": [{"name": "a", "shape": [1], "data": [1]}]},
        {"inputs": [{"name": "a", "shape": [1], "data": [1]}], "outputs": "all"},
    ],
)
def test_what_is_no_tensor_is_refused(driven: Driven, content: Any) -> None:
    answer = driven.ask("POST", "/v2/models/churn/infer", content)
    assert answer.status == 400
    assert isinstance(answer.json["error"], str)


def test_faults_of_rows_and_unknown_outputs(driven: Driven, accounts: pd.DataFrame, schema: AccountSchema) -> None:
    inputs = tensors(accounts.head(3), schema)
    strange = driven.ask("POST", "/v2/models/churn/infer", {"inputs": inputs, "outputs": [{"name": "x"}]})
    assert strange.status == 400
    inputs[1]["data"][1] = "many"
    answer = driven.ask("POST", "/v2/models/churn/infer", {"inputs": inputs})
    assert answer.status == 422
    assert [(fault["row"], fault["field"]) for fault in answer.json["faults"]] == [(2, inputs[1]["name"])]
    answer = driven.ask("POST", "/v2/models/churn/infer", {"inputs": inputs[2:]})
    assert {fault["field"] for fault in answer.json["faults"]} == {schema.id, inputs[1]["name"]}
