"""What a training is made of, and what is said of two of them."""

import gzip
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from kedro.io import DatasetError

from churn import fingerprint as module
from churn.datasets import FingerprintDataset
from churn.fingerprint import Fingerprint, fingerprint
from churn.parameters import Parameters

DATA: dict[str, Any] = {"name": "accounts", "bytes": 9, "sha256": "d1", "rows": 100, "files": {"a": "1", "b": "2"}}
FIRST = Fingerprint(
    data=DATA, parameters={"training.folds": 5}, code={"encoding.py": "1", "model.py": "1"}, packages={"uv.lock": "1"}
)


def but(**changes: Any) -> Fingerprint:
    return FIRST.model_copy(update=changes)


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (but(), []),
        (but(data={**DATA, "name": "moved"}), []),
        (
            but(data={**DATA, "sha256": "d2", "rows": 31_304, "files": {**DATA["files"], "c": "3", "d": "4"}}),
            ["data: 2 files new; +31,204 rows"],
        ),
        (
            but(data={**DATA, "sha256": "d2", "rows": 90, "files": {"a": "9", "c": "3"}}),
            ["data: 1 file new, 1 changed, 1 gone; -10 rows"],
        ),
        (but(data={**DATA, "sha256": "d2", "rows": None, "files": {"a": "1"}}), ["data: 1 file gone"]),
        (but(parameters={"training.folds": 4}), ["parameters: training.folds 5 -> 4"]),
        (but(parameters={"training.folds": 5, "new": "x"}), ['parameters: new null -> "x"']),
        (but(code={"encoding.py": "2", "model.py": "1"}), ["code: encoding.py"]),
        (but(code={f"{name}.py": "1" for name in "vwxyz"}), ["code: encoding.py, model.py, v.py and 4 more"]),
        (but(packages={"uv.lock": "2"}), ["packages: uv.lock"]),
        (
            but(data={"name": "accounts", "sha256": "x"}, packages={"uv.lock": "2"}),
            ["data: 1 file new, 2 gone", "packages: uv.lock"],
        ),
    ],
)
def test_what_has_changed_is_said(now: Fingerprint, said: list[str]) -> None:
    assert now.changes(FIRST) == said
    assert (now.sha256 == FIRST.sha256) == (not said)


def test_a_fingerprint_names_what_has_an_effect(
    parameters: Parameters, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(**training: Any) -> Fingerprint:
        blocks = {"accounts": parameters.accounts, "training": parameters.training.model_copy(update=training)}
        return fingerprint(DATA, blocks, tmp_path)

    first = made()
    assert first.parameters["training.booster.max_depth"] == parameters.training.booster.max_depth
    assert {"boosting.py", "pipelines/training/nodes.py"} <= first.code.keys()
    assert "xgboost" in first.packages  # there is no lock file
    assert made(device="cuda", threads=3, only_if_changed=True) == first
    assert made(folds=3).changes(first) == ["parameters: training.folds 5 -> 3"]
    (tmp_path / "uv.lock").write_text("a")
    locked = made()
    (tmp_path / "uv.lock").write_text("b")
    assert made().changes(locked) == ["packages: uv.lock"]

    monkeypatch.setattr(module, "PACKAGE", tmp_path)
    (tmp_path / "one.py").write_text("1")
    one = made()
    (tmp_path / "one.py").write_text("2")
    assert made().changes(one) == ["code: one.py"]
    assert Fingerprint.model_validate(one.model_dump(mode="json")) == one


def test_rows_are_counted(tmp_path: Path) -> None:
    def rows(path: Path) -> int | None:
        found: int | None = FingerprintDataset(filepath=str(path), rows=True).load()["rows"]
        return found

    frame = pd.DataFrame({"a": range(3)})
    file = tmp_path / "a.csv"
    frame.to_csv(file, index=False)
    assert rows(file) == 3
    file.write_text(file.read_text().rstrip("\n"))
    assert rows(file) == 3
    file.write_text("a\n")
    assert rows(file) == 0
    file.write_text("")
    assert rows(file) == 0
    frame.to_parquet(tmp_path / "b.parquet")
    assert rows(tmp_path / "b.parquet") == 3
    folder = tmp_path / "both"
    folder.mkdir()
    frame.to_csv(folder / "a.csv", index=False)
    frame.to_parquet(folder / "b.parquet")
    assert rows(folder) == 6
    (folder / "c.csv.gz").write_bytes(gzip.compress(b"a\n1\n"))
    assert rows(folder) is None
    assert "rows" not in FingerprintDataset(filepath=str(folder)).load()
    (tmp_path / "b.parquet").write_bytes(b"PAR1 not")
    with pytest.raises(DatasetError, match=r"b\.parquet cannot be read as an account table"):
        rows(tmp_path / "b.parquet")
