"""What the service says of itself: the model, the interface in OpenAPI, and a page for people that works offline."""

import base64
import hashlib
import json
from importlib.metadata import version
from typing import Any

from churn.config import NumericColumn, Serve
from churn.registry.fingerprint import DISTRIBUTION
from churn.serving.canaries import canary_rows, keep_rules
from churn.serving.champion import InUse
from churn.serving.forms import Answer
from churn.serving.scorer import MOST_REASONS
from churn.tables import humanize, plain, ranked_shares

STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;background:#fff}
h1,h2{line-height:1.2}table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #ccd}
code,pre{font-family:ui-monospace,monospace;font-size:.9em}pre{background:#f4f5f7;padding:1rem;overflow:auto}
"""


def described_model(name: str, used: InUse) -> dict[str, Any]:
    """Return version, hash, schema and card of the model in use."""
    model = used.model
    schema = model.schema
    described: dict[str, Any] = plain(
        {
            "name": name,
            **used.described,
            "threshold": model.threshold,
            "risk_bands": [band.model_dump() for band in model.risk_bands],
            "schema": {
                "id": schema.id,
                "numeric": [column.model_dump() for column in schema.numeric],
                **({"dates": [column.model_dump() for column in schema.dates]} if schema.dates else {}),
                "categorical": {column: list(model.vocabularies.get(column, ())) for column in schema.categorical},
                "not_above": [rule.model_dump() for rule in schema.not_above],
            },
            "card": {
                "training_rows": model.reference.rows,
                "performance": dict(model.performance),
                "importance": ranked_shares(model.importance),
                "typical": used.typical,
            },
        }
    )
    return described


def example_row(used: InUse) -> dict[str, Any]:
    """Return an account with typical values, which can be scored."""
    canary, typical = canary_rows(used.model)[0], used.typical
    row: dict[str, Any] = {used.model.schema.id: "A-1001"}
    for column in used.model.schema.numeric:
        value = typical.get(column.column)
        row[column.column] = (round(value) if column.integer else round(value, 4)) if isinstance(value, float) else None
    others = used.model.schema.source_columns[1 + len(used.model.schema.numeric) :]
    row |= {name: canary[name] for name in others}
    keep_rules(row, used.model.schema)
    return row


def account_schema(used: InUse) -> dict[str, Any]:
    """Return the JSON schema of an account."""
    schema = used.model.schema
    properties: dict[str, Any] = {
        schema.id: {"type": ["string", "integer"], "description": "Identifies the account; repeated in the answer."}
    }
    for column in schema.numeric:
        properties[column.column] = _number(column)
    dates = [column.column for column in schema.dates]
    for name in [*dates, *([schema.as_of] if isinstance(schema.as_of, str) else [])]:
        properties[name] = {"type": ["string", "null"], "description": f"{humanize(name)}: a date"}
    for name in schema.categorical:
        known = list(used.model.vocabularies.get(name, ()))
        properties[name] = {
            "type": ["string", "null"],
            "description": humanize(name),
            "examples": known[:5],
        }
    return {
        "type": "object",
        "description": "An account. null is a missing value.",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": not schema.strict,
        "example": example_row(used),
    }


def _number(column: NumericColumn) -> dict[str, Any]:
    limits = {"minimum": column.minimum, "maximum": column.maximum}
    return {
        "type": ["integer" if column.integer else "number", "null"],
        "description": humanize(column.column),
        **{name: value for name, value in limits.items() if value is not None},
    }


def openapi(name: str, used: InUse, settings: Serve) -> dict[str, Any]:
    """Return the interface in OpenAPI 3.1."""
    row = example_row(used)
    nothing = {"description": "Not as asked", "content": _json({"$ref": "#/components/schemas/Error"})}
    refused = dict.fromkeys(("400", "401", "403", "413", "415", "421", "422", "429", "503"), nothing)

    def get(summary: str, schema: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        answer = {"description": "Answer", "content": _json(schema or {"type": "object"})}
        return {"get": {"summary": summary, "responses": {"200": answer, **refused}, **more}}

    def post(summary: str, asked: dict[str, Any], answered: dict[str, Any], example: Any) -> dict[str, Any]:
        body = {"required": True, "content": {"application/json": {"schema": asked, "example": example}}}
        answer = {"description": "Answer", "content": _json(answered)}
        return {"post": {"summary": summary, "requestBody": body, "responses": {"200": answer, **refused}}}

    account = {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
    missing = {"404": nothing}
    found = get("The published score of an account", {"$ref": "#/components/schemas/Published"}, parameters=[account])
    found["get"]["responses"] |= missing
    tensors = {"$ref": "#/components/schemas/Tensors"}
    open_to_all: dict[str, Any] = {"security": []}
    inputs = [
        {"name": column, "shape": [1], "datatype": "BYTES" if isinstance(value, str) else "FP64", "data": [value]}
        for column, value in row.items()
    ]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "churn",
            "version": version(DISTRIBUTION),
            "description": f"Probability of churn. Model {name}, version {used.model.version}.",
        },
        "security": [{"token": []}],
        "paths": {
            "/v1/score": post(
                "Score accounts",
                {"$ref": "#/components/schemas/Request"},
                {"$ref": "#/components/schemas/Scores"},
                {"rows": [row], "reasons": 3, "decision": True},
            ),
            "/v1/accounts/{id}": found,
            "/v1/model": get("The model in use: version, hash, schema, card"),
            f"/v2/models/{name}": get("The model, as the Open Inference Protocol has it"),
            f"/v2/models/{name}/infer": post("Score accounts, as tensors", tensors, tensors, {"inputs": inputs}),
            f"/v2/models/{name}/ready": get("Whether the model is ready", **open_to_all),
            "/v2": get("The server", **open_to_all),
            "/v2/health/live": get("Whether the process lives", **open_to_all),
            "/v2/health/ready": get("Whether it is ready", **open_to_all),
            "/livez": get("Whether the process lives", **open_to_all),
            "/readyz": get("Whether it is ready, and what is not as it should be", **open_to_all),
        },
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": _schemas(used, settings),
        },
    }


def _schemas(used: InUse, settings: Serve) -> dict[str, Any]:
    probability = {"type": "number", "minimum": 0, "maximum": 1}
    bands = {"type": "string", "enum": [band.name for band in used.model.risk_bands]}
    text, score = {"type": "string"}, {"$ref": "#/components/schemas/Score"}
    fault = _object({"row": {"type": "integer", "minimum": 1}, "field": {"type": ["string", "null"]}, "message": text})
    reason = _object({"column": text, "code": text, "text": text, "contribution": {"type": "number"}})
    decision = _object(
        {
            "act": {"type": ["boolean", "null"]},
            "expected_profit": {"type": "number"},
            "account_value": {"type": "number"},
            "suggested_action": {"type": ["string", "null"]},
        }
    )
    scored = {
        "id": text,
        "probability": probability,
        "prediction": {"type": "integer", "enum": [0, 1]},
        "risk_band": bands,
    }
    model = _object({"version": text, "sha256": text, "run_id": {"type": ["string", "null"]}})
    return {
        "Account": account_schema(used),
        "Request": {
            **_object(
                {
                    "rows": {
                        "type": "array",
                        "minItems": 1,
                        "maxItems": settings.rows,
                        "items": {"$ref": "#/components/schemas/Account"},
                    },
                    "reasons": {"type": "integer", "minimum": 0, "maximum": MOST_REASONS, "default": 0},
                    "decision": {"type": "boolean", "default": False},
                    "partial": {"type": "boolean", "default": False},
                    "as_of": {"type": ["string", "null"], "format": "date"},
                },
                required=["rows"],
            ),
            "additionalProperties": False,
        },
        "Score": _object(
            {
                **scored,
                "decision": decision,
                "reasons": {"type": "array", "items": reason},
                "other": {"type": "number"},
            },
            required=list(scored),
        ),
        "Scores": _object(
            {
                "scores": {"type": "array", "items": {"anyOf": [score, {"type": "null"}]}},
                "model": model,
                "as_of": {"type": "string", "format": "date"},
                "request_id": text,
                "faults": {"type": "array", "items": fault},
                "notes": {"type": "array", "items": text},
                "decision": {"type": "object"},
            },
            required=["scores", "model", "as_of", "request_id"],
        ),
        "Published": _object({**scored, "model_version": text, "run_id": text, "as_of": text, "published_at": text}),
        "Tensors": {"type": "object"},
        "Error": {"type": "object", "properties": {"error": {}, "faults": {"type": "array", "items": fault}}},
    }


def _object(properties: dict[str, Any], required: list[str] | None = None) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties) if required is None else required,
    }


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>churn: scores over HTTP</title><style>{{ style | safe }}</style></head><body>
<h1>Scores over HTTP</h1>
<p>Model <code>{{ name }}</code>, version <code>{{ version }}</code>, <code>{{ sha256 }}</code>. The interface as a document:
<a href="openapi.json">openapi.json</a>.</p>
<h2>Paths</h2><table><tr><th>path</th><th>method</th><th>what it is</th></tr>
{% for path, method, summary in paths %}<tr><td><code>{{ path }}</code></td><td>{{ method }}</td><td>{{ summary }}</td></tr>
{% endfor %}</table>
<h2>Columns of an account</h2><p><code>null</code> is a missing value; each column must be there.</p>
<table><tr><th>column</th><th>type</th><th>range or examples</th></tr>
{% for column, kind, limits in columns %}<tr><td><code>{{ column }}</code></td><td>{{ kind }}</td><td>{{ limits }}</td></tr>
{% endfor %}</table>
<h2>Example</h2><pre>curl -H "Authorization: Bearer $CHURN_SERVE_TOKEN" -H "Content-Type: application/json" \\
  --data '{{ example }}' \\
  http://127.0.0.1:{{ port }}/v1/score</pre>
<p>At most {{ rows }} rows and {{ bytes }} bytes.</p>
</body></html>
"""


def page(name: str, used: InUse, settings: Serve) -> Answer:
    """Return the page for people."""
    import jinja2

    document = openapi(name, used, settings)
    paths = [
        (path, method.upper(), operation["summary"])
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    columns = [
        (column, " or ".join(each["type"]), _limits(each))
        for column, each in account_schema(used)["properties"].items()
    ]
    html = (
        jinja2.Environment(autoescape=True)
        .from_string(PAGE)
        .render(
            style=STYLE,
            name=name,
            version=used.model.version,
            sha256=used.model.sha256,
            paths=paths,
            columns=columns,
            # In single quotes, where a shell reads no other.
            example=json.dumps({"rows": [example_row(used)], "reasons": 3, "decision": True}).replace("'", "\\u0027"),
            port=settings.port,
            rows=f"{settings.rows:,}",
            bytes=f"{settings.bytes:,}",
        )
    )
    hashed = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{hashed}'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    )
    return Answer(html.encode(), kind="text/html; charset=utf-8", headers={"content-security-policy": policy})


def _limits(described: dict[str, Any]) -> str:
    if "examples" in described:
        return ", ".join(described["examples"])
    limits = [f"{name} {described[name]:g}" for name in ("minimum", "maximum") if name in described]
    return ", ".join(limits)
