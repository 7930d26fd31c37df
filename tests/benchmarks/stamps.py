"""Stamps of measures: a hash of everything that the measures of a model on a table depend on.

They are the rows and their roles, the version of the model's package, and the code: the functions of these benchmarks that
fit and measure, with everything that they call, and the modules of this project's core that those import. So a stamp
changes where a result could, and another model that is added, or a comment in the core, changes none.
"""

import ast
import hashlib
import inspect
import re
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from pathlib import Path
from types import CodeType, FunctionType, ModuleType

import pandas as pd

from churn.registry.fingerprint import PACKAGE, fingerprint, fingerprint_of_training
from tests.benchmarks.peers import MODELS, measured
from tests.benchmarks.public_tables import Table

ROOT = Path(__file__).parents[2]
# What the packages of the peers are called where they are installed from.
DISTRIBUTIONS = {"interpret": "interpret-core", "sklearn": "scikit-learn"}
OWN = "tests.benchmarks."


def stamps(table: Table, models: Iterable[str], splitter: object) -> dict[str, str]:
    """The stamp of each model on a table whose folds a function draws."""
    rows = hashlib.sha256(pd.util.hash_pandas_object(table.accounts, index=False).to_numpy().tobytes()).hexdigest()
    schema = table.schema
    roles = repr((list(schema.numeric_names), list(schema.categorical), schema.label.column))
    found = {}
    for model in models:
        package, fitter = MODELS[model]
        if model == "churn":
            own = fingerprint_of_training({"sha256": rows}, schema, table.features, table.training).sha256
        else:
            own = version(DISTRIBUTIONS.get(package, package))
        parts = [rows, roles, own, code_of(fitter, measured, splitter)]
        if model == "logistic regression":
            parts.append(table.features.model_dump_json())
        found[model] = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    return found


def version(distribution: str) -> str:
    """The version of a package that is installed, or else of the lock, whose measures another machine may have made."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        locked = re.search(rf'^name = "{re.escape(distribution)}"\nversion = "([^"]+)"', _lock(), re.MULTILINE)
        if locked is None:
            raise
        return locked[1]


@cache
def _lock() -> str:
    return (ROOT / "uv.lock").read_text(encoding="utf-8")


@cache
def code_of(*functions: object) -> str:
    """Hash of the code of functions: their own text, that of everything of the benchmarks they refer to, and core modules."""
    waiting = list(functions)
    seen: set[int] = set()
    parts: set[str] = set()
    modules: set[str] = set()
    while waiting:
        given = waiting.pop()
        if id(given) in seen or isinstance(given, ModuleType) or not callable(given):
            continue
        seen.add(id(given))
        home = getattr(given, "__module__", None) or ""
        if home.startswith("churn."):
            modules.add(home)
        elif home.startswith(OWN):
            parts.add(inspect.getsource(given))
            if inspect.isfunction(given):
                for name, value in _values(given).items():
                    waiting.append(value)
                    if not callable(value) and not isinstance(value, ModuleType):
                        parts.add(f"{name} = {value!r}")
    parts |= {f"{file} {sha256}" for file, sha256 in _core().items() if file in _files(modules)}
    return hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()


def _values(function: FunctionType) -> dict[str, object]:
    """What a function refers to outside itself, by name."""
    found = {name: function.__globals__[name] for name in _names(function.__code__) if name in function.__globals__}
    enclosed = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    return found | {name: cell.cell_contents for name, cell in enclosed}


def _names(code: CodeType) -> set[str]:
    """Global names of a function and of the functions inside it."""
    inside = [each for each in code.co_consts if isinstance(each, CodeType)]
    return set(code.co_names).union(*map(_names, inside))


@cache
def _core() -> dict[str, str]:
    """The hash of the syntax of each file of the core; comments, docstrings and layout don't count."""
    return fingerprint({"sha256": ""}, {}).code


def _files(modules: Iterable[str]) -> set[str]:
    """The files of modules and of everything of this project that they import."""
    waiting, found = list(modules), set()
    while waiting:
        place = PACKAGE.joinpath(*waiting.pop().split(".")[1:])
        file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        name = file.relative_to(PACKAGE).as_posix()
        if name in found or not file.exists():
            continue
        found.add(name)
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("churn"):
                # What is imported may be a module of the package.
                waiting += [node.module, *(f"{node.module}.{each.name}" for each in node.names)]
            elif isinstance(node, ast.Import):
                waiting += [each.name for each in node.names if each.name.startswith("churn.")]
    return found
