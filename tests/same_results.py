"""Whether two checkouts make the same results: the same seeds, the same bytes.

``python -m tests.same_results BEFORE AFTER`` runs the five pipelines of both checkouts, each by its own ``.venv``, on a
laptop, on the Telco table, on the servers of ``make services`` and on Spark, and compares what they published. It ends
with 1 where something differs, and says by how much. ``--runs`` chooses some of the four.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

RUNS = ("laptop", "telco", "minio", "spark")
TABLES = (
    "inference_result.csv",
    "inference_result.parquet",
    "retention_list.csv",
    "retention_list.parquet",
    "retention_list.html",
    "retention_list.xlsx",
)
AS_OF = "inference.as_of=2026-01-31"
# Of a run itself, not of what it found.
OWN = {"run_id", "published_at", "latency_ms", "version", "packages", "made_of"}


def results_of(checkout: Path, run: str, scratch: Path) -> dict[str, Any]:
    """What a run of a checkout publishes: hashes of the tables, the model's hash, and every figure by its name."""
    conf = scratch / "conf"
    shutil.copytree(checkout / "conf", conf, ignore=shutil.ignore_patterns("local"))
    (conf / "local").mkdir()
    environment = {**os.environ, "DO_NOT_TRACK": "1", "COLUMNS": "200"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    if run == "minio":
        return _on_servers(checkout, conf, scratch, environment)
    stores = {"staging": "data-staging", "artifacts": "mlflow-artifacts", "results": "ml-result", "cache": "cache"}
    places = "\n".join(f"  {name}: {scratch / folder}" for name, folder in stores.items())
    known = (conf / run / "globals.yml").read_text() if run == "telco" else ""
    kept = "\n".join(
        line for line in known.splitlines() if line.startswith(("source_accounts", "model:", "  name", "  exp"))
    )
    folder = conf / ("local" if run == "laptop" else run)
    (folder / "globals.yml").write_text(f"stores:\n{places}\n{kept}\n")
    options = [] if run == "laptop" else ["--env", run]
    _kedro(checkout, conf, options, environment)
    return _published(scratch / "ml-result")


def _kedro(checkout: Path, conf: Path, options: list[str], environment: Mapping[str, str]) -> None:
    command = [checkout / ".venv/bin/python", "-m", "kedro", "run", "--conf-source", conf, *options, "--params", AS_OF]
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(
            f"{checkout}, {options}: exit code {done.returncode}\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
        )


def _on_servers(checkout: Path, conf: Path, scratch: Path, environment: dict[str, str]) -> dict[str, Any]:
    """A run on servers of its own, which are stopped afterwards."""
    python = checkout / ".venv/bin/python"
    shutil.copy(checkout / ".env.example", scratch)

    def services(command: str) -> None:
        subprocess.run([python, "-m", "churn.services", command], cwd=scratch, env=environment, check=True, stdout=2)

    services("up")
    try:
        from dotenv import dotenv_values

        known = {name: value for name, value in dotenv_values(scratch / ".env").items() if value}
        _kedro(checkout, conf, ["--env", "minio"], {**environment, **known, "CHURN_SCRATCH": str(scratch / "scratch")})
        import s3fs

        bucket = s3fs.S3FileSystem(
            key=known["CHURN_SCORING_ACCESS_KEY"],
            secret=known["CHURN_SCORING_SECRET_KEY"],
            client_kwargs={"endpoint_url": known["CHURN_S3_ENDPOINT"], "region_name": "us-east-1"},
        )
        bucket.get("ml-result/", str(scratch / "ml-result/"), recursive=True)
    finally:
        services("down")
    return _published(scratch / "ml-result")


def _published(folder: Path) -> dict[str, Any]:
    run = folder / json.loads((folder / "latest.json").read_text())["run_id"]
    manifest = json.loads((run / "manifest.json").read_text())
    found: dict[str, Any] = {"model": manifest["model"]["sha256"]}
    found |= {name: hashlib.sha256((run / name).read_bytes()).hexdigest() for name in TABLES}
    for name in ("health_metrics.json", "input_profile.json"):
        found |= dict(_leaves(json.loads((run / name).read_text()), name))
    found |= dict(
        _leaves({key: manifest[key] for key in ("rows", "at_risk", "to_act_on", "expected_profit")}, "manifest")
    )
    return found


def _leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """The figures of a document by their dotted names, without what names the run."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key not in OWN and not key.startswith("model_version"):
                yield from _leaves(inner, f"{name}.{key}")
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            yield from _leaves(inner, f"{name}.{at}")
    else:
        yield name, value


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Names whose values are not the same, with how far numbers are apart."""
    said = []
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if old != new:
            numbers = isinstance(old, float) and isinstance(new, float)
            said.append(f"{name}: {old} -> {new}" + (f" ({new - old:+.3g})" if numbers else ""))
    return said


def main() -> int:
    """Compare two checkouts, or note the results of one in a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkouts", nargs="+", type=Path, help="one or two checkouts, or files that --into wrote")
    parser.add_argument("--runs", default=",".join(RUNS), help="which runs, with commas between")
    parser.add_argument("--into", type=Path, help="write the results of a single checkout to this file")
    given = parser.parse_args()
    found: list[dict[str, Any]] = []
    for place in given.checkouts:
        if place.is_file():
            found.append(json.loads(place.read_text()))
            continue
        made = {}
        for run in given.runs.split(","):
            with tempfile.TemporaryDirectory(prefix="churn-same-") as scratch:
                made[run] = results_of(place.absolute(), run, Path(scratch))
            print(f"{place}: {run} done, model {made[run]['model'][:12]}", file=sys.stderr)
        found.append(made)
    if given.into:
        given.into.write_text(json.dumps(found[0], indent=1))
    if len(found) < 2:
        return 0
    differing = 0
    for run in given.runs.split(","):
        said = differences(found[0][run], found[1][run])
        differing += len(said)
        print(f"{run}: {len(found[0][run])} values, {len(said)} different")
        print("".join(f"  {line}\n" for line in said[:40]), end="")
    return int(differing > 0)


if __name__ == "__main__":
    sys.exit(main())
