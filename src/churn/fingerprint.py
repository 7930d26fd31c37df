"""What a model is made of, and what has changed since another one was made.

A *fingerprint* of a training names the content of its table, its parameters, the source of this package and the versions
that the lock file fixes. Two trainings with the same fingerprint make the same model.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from churn.model_card import package_versions
from churn.parameters import Accounts, FeatureEngineering, Training

LOCK_FILE = "uv.lock"
PACKAGE = Path(__file__).parent
# Parameters of training that say where or whether, not what comes out.
WITHOUT_EFFECT = {"device", "threads", "only_if_changed"}
# Names that a sentence lists; more are counted.
MOST_NAMES = 3


class Fingerprint(BaseModel):
    """What a training is made of.

    Attributes:
        data: The table, as `churn.datasets.FingerprintDataset` describes it.
        parameters: Values by their dotted names, those that have an effect on the model.
        code: SHA-256 of each file of the package, by its path in it.
        packages: SHA-256 of the lock file, or where there is none the versions of what a model depends on.
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
        values = [
            f"{name} {json.dumps(since.parameters.get(name))} -> {json.dumps(self.parameters.get(name))}"
            for name in _different(since.parameters, self.parameters)
        ]
        for kind, names in (
            ("parameters", values),
            ("code", _different(since.code, self.code)),
            ("packages", _different(since.packages, self.packages)),
        ):
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
    lock = (project or PACKAGE.parent.parent) / LOCK_FILE
    return Fingerprint(
        data=dict(data),
        parameters=dict(_flat(parameters)),
        code={file.relative_to(PACKAGE).as_posix(): _sha256(file) for file in sorted(PACKAGE.rglob("*.py"))},
        packages={LOCK_FILE: _sha256(lock)} if lock.is_file() else package_versions(),
    )


def fingerprint_of_training(
    data: Mapping[str, Any], accounts: Accounts, feature_engineering: FeatureEngineering, training: Training
) -> Fingerprint:
    """The fingerprint of a training of a table with these parameters: all that have an effect on the model."""
    blocks = {"accounts": accounts, "feature_engineering": feature_engineering, "training": training}
    return fingerprint(data, blocks)


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key))
    else:
        yield name, value


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


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
