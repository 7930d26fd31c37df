"""What a model is made of, and what has changed since another one was made.

A *fingerprint* of a training names the content of its table, its parameters, the code of the pure core and the versions of
the packages that compute. Two trainings with the same fingerprint make the same model. Everything else may change without
a new training: servers, data sets, pages, and comments and docstrings of the core.
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

# This project as a package; `churn` on PyPI is another one.
DISTRIBUTION = "kedro-churn"
LOCK_FILE = "uv.lock"
PACKAGE = Path(__file__).parents[1]
# The rooms of the package whose code makes a model.
CORE = ("tables", "metrics", "model", "training", "retention", "monitoring")
# The packages that compute; the search of training.tuning has another one.
COMPUTING = ("numpy", "pandas", "pyarrow", "scikit-learn", "scipy", "xgboost")
SEARCHING = "optuna"
# Parameters of training that say where or whether, not what comes out.
WITHOUT_EFFECT = {"device", "threads", "only_if_changed"}
# The beginning of a package in the lock file: its name and its version.
_LOCKED = re.compile(r'^name = "([^"]+)"\nversion = "([^"]+)"', re.MULTILINE)
# Names that a sentence lists; more are counted.
MOST_NAMES = 3


class Fingerprint(BaseModel):
    """What a training is made of.

    Attributes:
        data: The table, as `churn.datasets.FingerprintDataset` describes it.
        parameters: Values by their dotted names, those that have an effect on the model.
        code: SHA-256 of what each file of the core does, by its path in the package.
        packages: Versions of the packages that compute: those that the lock file fixes, or where there is none those
            that are installed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: dict[str, Any]
    parameters: dict[str, Any]
    code: dict[str, str]
    packages: dict[str, str]

    @property
    def sha256(self) -> str:
        """Hash of all of it, but for the name of the table."""
        content = self.model_dump(mode="json")
        content["data"] = self.data["sha256"]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def changes(self, since: "Fingerprint") -> list[str]:
        """What is different from an earlier fingerprint, a sentence for each kind; none where nothing is."""
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
    """The fingerprint of a training.

    Args:
        data: Description of its table.
        blocks: Its parameters, block by block.
        project: Where the lock file lies; by default above the package.
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
    """The fingerprint of a training of a table with these parameters: all that have an effect on the model."""
    blocks = {"accounts": accounts, "feature_engineering": feature_engineering, "training": training}
    return fingerprint(data, blocks)


def _sha256(file: Path) -> str:
    """Hash of what a file does: of its syntax without comments, docstrings and layout."""
    parts: list[str] = []
    _describe(ast.parse(file.read_bytes()), parts)
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()


def _describe(node: object, parts: list[str]) -> None:
    """Add a piece of syntax as words, the same in every version of Python: `ast.dump` also names what is empty."""
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
            # Text that stands by itself is a docstring, of a module, a class, a function or the line before it.
            if not (isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant)):
                _describe(item, parts)
        parts.append("]")
    else:
        parts.append(repr(node))


def _versions(names: Iterable[str], project: Path) -> dict[str, str]:
    """Version of each package: the locked one, where the project has a lock file; of several the one that is installed."""
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
    """What happened to the files of a table, for example ``2 new files, 1 changed; +31,204 rows``."""
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
    """Installed versions of what a model depends on."""
    return {
        name: metadata.version(name) for name in (DISTRIBUTION, "numpy", "pandas", "pyarrow", "scikit-learn", "xgboost")
    }
