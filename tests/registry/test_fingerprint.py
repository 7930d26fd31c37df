"""What a training is made of, and what is said of two of them."""

import gzip
import re
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from kedro.io import DatasetError

from churn.config import Parameters
from churn.datasets import FingerprintDataset
from churn.registry import fingerprint as module
from churn.registry.fingerprint import Fingerprint, fingerprint

DATA: dict[str, Any] = {"name": "accounts", "bytes": 9, "sha256": "d1", "rows": 100, "files": {"a": "1", "b": "2"}}
FIRST = Fingerprint(
    data=DATA, parameters={"training.folds": 5}, code={"encoding.py": "1", "model.py": "1"}, packages={"numpy": "1"}
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
        (but(packages={"numpy": "2"}), ["packages: numpy 1 -> 2"]),
        (
            but(data={"name": "accounts", "sha256": "x"}, packages={"numpy": "2"}),
            ["data: 1 file new, 2 gone", "packages: numpy 1 -> 2"],
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
    assert {"training/boosting.py", "model/encoder.py"} <= first.code.keys()
    assert first.packages["xgboost"] == version("xgboost")  # there is no lock file
    assert made(device="cuda", threads=3, only_if_changed=True) == first
    assert made(folds=3).changes(first) == ["parameters: training.folds 5 -> 3"]

    def lock(**versions: str) -> None:
        packages = (f'[[package]]\nname = "{name}"\nversion = "{number}"\n' for name, number in versions.items())
        (tmp_path / "uv.lock").write_text("version = 1\n\n" + "\n".join(packages))

    lock(xgboost="1.0", ruff="1.0", optuna="1.0")
    locked = made()
    assert locked.packages["xgboost"] == "1.0"
    lock(xgboost="1.0", ruff="2.0", optuna="2.0")  # neither computes: nothing is searched
    assert made() == locked
    lock(xgboost="2.0", ruff="2.0", optuna="2.0")
    assert made().changes(locked) == ["packages: xgboost 1.0 -> 2.0"]
    searching = made(tuning=parameters.training.tuning.model_copy(update={"enabled": True}))
    assert searching.packages["optuna"] == "2.0"

    monkeypatch.setattr(module, "PACKAGE", tmp_path)
    (tmp_path / "model").mkdir()
    (tmp_path / "model/one.py").write_text("x = 1")
    one = made()
    (tmp_path / "model/one.py").write_text("x = 2")
    assert made().changes(one) == ["code: model/one.py"]
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


ROOMS = sorted(folder.name for folder in module.PACKAGE.iterdir() if (folder / "__init__.py").exists())


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package, to be changed."""
    folder = tmp_path_factory.mktemp("package") / "churn"
    shutil.copytree(module.PACKAGE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.mark.parametrize("room", ROOMS)
def test_the_core_alone_leads_to_a_training(package: Path, room: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PACKAGE", package)
    before = fingerprint(DATA, {})
    file = max((package / room).rglob("*.py"), key=lambda file: file.stat().st_size)
    content = file.read_text()
    # Comments, docstrings, layout: what the code does stays.
    for harmless in (
        f"# a comment\n{content}",
        re.sub(r'^(\s*""")(?=[A-Z])', r"\1Said otherwise. ", content, flags=re.MULTILINE),
        f"{content}\n\n\n",
    ):
        file.write_text(harmless)
        assert fingerprint(DATA, {}) == before
    file.write_text(f"{content}\nCHANGED = True\n")
    changed = fingerprint(DATA, {}).changes(before)
    file.write_text(content)
    is_core = room in {"tables", "metrics", "model", "training", "retention", "monitoring"}
    assert changed == ([f"code: {file.relative_to(package).as_posix()}"] if is_core else [])


def test_a_file_of_the_package_itself_leads_to_none(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PACKAGE", package)
    before = fingerprint(DATA, {})
    (package / "errors.py").write_text("CHANGED = True\n")
    assert fingerprint(DATA, {}) == before
