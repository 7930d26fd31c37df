"""Fingerprints of trainings, and the differences between them.

The *fingerprint* of a training has hashes of its table and of the code of the pure core, its parameters, and the versions of the
packages that compute. Two trainings with the same fingerprint make the same model. Everything else may change without a new
training: servers, data sets, pages, and comments and docstrings of the core.
"""

import ast
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from churn.config import AccountSchema, FeatureEngineering, Training
from churn.tables import flat

# Distribution name of this project; `churn` on PyPI is another project.
DISTRIBUTION = "kedro-churn"
LOCK_FILE = "uv.lock"
PACKAGE = Path(__file__).parents[1]
# The subpackages whose code determines the model.
CORE = ("tables", "metrics", "model", "training", "retention", "monitoring")
# Packages that compute; the search of training.tuning uses one more.
COMPUTING = ("numpy", "pandas", "pyarrow", "scikit-learn", "scipy", "xgboost")
SEARCHING = "optuna"
# Parameters of training that do not affect the model.
WITHOUT_EFFECT = {"device", "threads", "only_if_changed"}
# First lines of a package in the lock file: its name and its version.
_LOCKED = re.compile(r'^name = "([^"]+)"\nversion = "([^"]+)"', re.MULTILINE)
# Maximum number of names that a sentence lists; the others are counted.
MOST_NAMES = 3


class Fingerprint(BaseModel):
    """Fingerprint of a training.

    Attributes:
        data: Description of the table, from `churn.datasets.FingerprintDataset`.
        parameters: Values of the parameters that affect the model, by dotted name.
        code: SHA-256 of the syntax of each file of the core, by its path in the package.
        packages: Versions of the packages that compute, from the lock file or, without one, as installed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: dict[str, Any]
    parameters: dict[str, Any]
    code: dict[str, str]
    packages: dict[str, str]

    @property
    def sha256(self) -> str:
        """Hash of the fingerprint, without the name of the table."""
        content = self.model_dump(mode="json")
        content["data"] = self.data["sha256"]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def changes(self, since: "Fingerprint") -> list[str]:
        """Return the differences from an earlier fingerprint, one sentence for each attribute that differs."""
        said = []
        if self.data["sha256"] != since.data["sha256"]:
            said.append(f"data: {_data_change(since.data, self.data)}")
        for kind, before, now, shown in (
            ("parameters", since.parameters, self.parameters, json.dumps),
            ("code", since.code, self.code, None),
            ("packages", since.packages, self.packages, str),
        ):
            names = _different(before, now)
            if shown is not None:
                names = [f"{name} {shown(before.get(name))} -> {shown(now.get(name))}" for name in names]
            if names:
                said.append(f"{kind}: {_listed(names)}")
        return said


def fingerprint(data: Mapping[str, Any], blocks: Mapping[str, BaseModel], project: Path | None = None) -> Fingerprint:
    """Return the fingerprint of a training.

    Args:
        data: Description of its table.
        blocks: Blocks of its parameters by name.
        project: Folder of the lock file; by default two levels above the package.
    """
    parameters = {name: block.model_dump(mode="json") for name, block in blocks.items()}
    for name in WITHOUT_EFFECT & set(parameters.get("training", {})):
        del parameters["training"][name]
    searches = (parameters.get("training", {}).get("tuning") or {}).get("enabled", False)
    files = sorted(file for room in CORE for file in (PACKAGE / room).rglob("*.py"))
    return Fingerprint(
        data=dict(data),
        parameters=dict(flat(parameters)),
        code={file.relative_to(PACKAGE).as_posix(): _sha256(file) for file in files},
        packages=_versions((*COMPUTING, SEARCHING) if searches else COMPUTING, project or PACKAGE.parents[1]),
    )


def fingerprint_of_training(
    data: Mapping[str, Any], accounts: AccountSchema, feature_engineering: FeatureEngineering, training: Training
) -> Fingerprint:
    """Return the fingerprint of a training on a table with the parameters that affect the model."""
    blocks = {"accounts": accounts.for_model, "feature_engineering": feature_engineering, "training": training}
    return fingerprint(data, blocks)


def _sha256(file: Path) -> str:
    """Return the hash of a file's syntax without comments, docstrings and layout."""
    parts: list[str] = []
    _describe(ast.parse(file.read_bytes()), parts)
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()


def _describe(node: object, parts: list[str]) -> None:
    """Append the words of a syntax tree, the same in every Python version; `ast.dump` also names empty fields."""
    if isinstance(node, ast.AST):
        parts.append(type(node).__name__)
        for name in node._fields:
            value = getattr(node, name, None)
            if value is not None and value != []:
                parts.append(name)
                _describe(value, parts)
    elif isinstance(node, list):
        parts.append("[")
        for item in node:
            # A text that is a statement of its own is a docstring of a module, class, function or attribute.
            if not (isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant)):
                _describe(item, parts)
        parts.append("]")
    else:
        parts.append(repr(node))


def _versions(names: Iterable[str], project: Path) -> dict[str, str]:
    """Return the version of each package from the lock file, or else the installed one; of several the installed one."""
    lock = project / LOCK_FILE
    locked: dict[str, list[str]] = {}
    for name, version in _LOCKED.findall(lock.read_text(encoding="utf-8")) if lock.is_file() else ():
        locked.setdefault(name, []).append(version)
    found = {}
    for name in names:
        known, installed = locked.get(name, []), metadata.version(name)
        found[name] = installed if installed in known or not known else ", ".join(known)
    return found


def _different(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return sorted(name for name in {*before, *now} if before.get(name) != now.get(name))


def _data_change(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return the changes of a table's files in words, for example ``2 new files, 1 changed; +31,204 rows``."""
    old, new = (each.get("files") or {each["name"]: each["sha256"]} for each in (before, now))
    counts = (
        ("new", len(new.keys() - old.keys())),
        ("changed", sum(new[name] != old[name] for name in new.keys() & old.keys())),
        ("gone", len(old.keys() - new.keys())),
    )
    said = [f"{count} {word}" for word, count in counts if count]
    said[0] = said[0].replace(" ", " file " if said[0].startswith("1 ") else " files ", 1)
    rows_before, rows_now = before.get("rows"), now.get("rows")
    grown = "" if rows_before is None or rows_now is None else f"; {rows_now - rows_before:+,} rows"
    return ", ".join(said) + grown


def _listed(names: Iterable[str]) -> str:
    known = list(names)
    more = f" and {len(known) - MOST_NAMES} more" if len(known) > MOST_NAMES else ""
    return ", ".join(known[:MOST_NAMES]) + more


def package_versions() -> dict[str, str]:
    """Return the installed versions of the packages that a model depends on."""
    return {
        name: metadata.version(name) for name in (DISTRIBUTION, "numpy", "pandas", "pyarrow", "scikit-learn", "xgboost")
    }
