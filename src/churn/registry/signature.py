"""Signature and input example of a model, as MLflow's pages and servers show them."""

import json
import math
from pathlib import Path
from typing import Any

from mlflow.models import Model, ModelSignature
from mlflow.types.schema import AnyType, ColSpec, DataType, Schema

from churn.model import ChurnModel
from churn.retention.terms import typical_values

EXAMPLE_FILE = "input_example.json"
# The id in the example, which is of no account.
EXAMPLE_ID = "example"


def describe(described: Model, model: ChurnModel, folder: Path) -> None:
    """Add signature and input example to the description of a model, and write the example into its folder."""
    example = input_example(model)
    (folder / EXAMPLE_FILE).write_text(json.dumps(example, ensure_ascii=False, allow_nan=False), encoding="utf-8")
    described.signature = signature(model)
    described.saved_input_example_info = {
        "artifact_path": EXAMPLE_FILE,
        "type": "dataframe",
        "pandas_orient": "split",
    }


def signature(model: ChurnModel) -> ModelSignature:
    """Return the names of the columns that a model needs, and names and types of those that it returns.

    The columns of accounts have no types in it: MLflow would refuse whole numbers where decimals are expected, numbers as
    categories, and everything that a CSV file has as text, before the model, which reads all of these, sees them.
    """
    needed = (model.schema.id, *typical_values(model.encoder, model.reference))
    outputs = (
        (DataType.string, model.schema.id),
        (DataType.float, "probability"),
        (DataType.integer, "prediction"),
        *((DataType.string, name) for name in ("risk_band", "model_version")),
    )
    return ModelSignature(
        inputs=Schema([ColSpec(AnyType(), name, required=False) for name in needed]),  # type: ignore[no-untyped-call]
        outputs=Schema([ColSpec(kind, name) for kind, name in outputs]),
    )


def input_example(model: ChurnModel) -> dict[str, Any]:
    """Return an account of typical values in the form of pandas: medians and most frequent categories of the training rows.

    It is no row of a table, and its id is of no account.
    """
    typical = typical_values(model.encoder, model.reference)
    row = [
        EXAMPLE_ID,
        *(None if isinstance(value, float) and not math.isfinite(value) else value for value in typical.values()),
    ]
    return {"columns": [model.schema.id, *typical], "data": [row]}
