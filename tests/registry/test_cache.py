"""The cache of models: it saves time, and never ends a run."""

import json
import os
import time
from pathlib import Path

import pytest

from churn.registry.cache import NAMES, ModelCache

SHA = "0123456789abcdef" * 4
URI = "sqlite:///mlflow.db models:/churn@champion"


def test_the_version_of_a_uri_is_known_later(tmp_path: Path) -> None:
    ModelCache(tmp_path / "models").remember(URI, "3", None, SHA)
    ModelCache(tmp_path / "models").remember("another", None, "run", SHA)
    known = ModelCache(tmp_path / "models").recall(URI)
    assert known is not None
    assert (known.version, known.run_id, known.sha256) == ("3", None, SHA)
    assert ModelCache(tmp_path / "models").recall("unknown") is None


def test_names_of_earlier_versions_are_read(tmp_path: Path) -> None:
    content = {URI: {"version": "1", "run_id": "r", "sha256": SHA, "seen_at": "2026-01-31T00:00:00+00:00"}}
    (tmp_path / NAMES).write_text(json.dumps(content, indent=1))
    known = ModelCache(tmp_path).recall(URI)
    assert known is not None
    assert known.version == "1"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'["models:/churn@champion"]',
        b'{"a": ',
        b"null",
        b"\xff\xfe",
        b'{"a": null}',
        b'{"a": {"version": "1", "run_id": null, "sha256": "../../etc", "seen_at": ""}}',
        b'{"a": {"version": 1, "sha256": null}}',
    ],
)
def test_damaged_names_are_set_aside(tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / NAMES).write_bytes(content)
    cache = ModelCache(tmp_path)
    assert cache.recall(URI) is None
    assert len(caplog.records) == 1
    cache.remember(URI, "1", None, SHA)
    assert cache.recall(URI) is not None
    assert [file.read_bytes() for file in tmp_path.glob(f"{NAMES}.damaged-*")] == [content]
    assert len(caplog.records) == 1


def test_a_cache_that_cannot_be_written_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("no folder can be made here")
    (tmp_path / "model").mkdir()
    cache = ModelCache(tmp_path / "file" / "models")
    cache.remember(URI, "1", None, SHA)
    cache.keep(SHA, tmp_path / "model")
    cache.drop(SHA)
    assert cache.recall(URI) is None
    assert cache.find(SHA) is None
    assert caplog.records


def test_copies_are_limited_and_those_of_killed_runs_removed(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "booster.ubj").write_bytes(b"trees")
    folder = tmp_path / "models"
    for name in (".killed", ".going-on"):
        (folder / name).mkdir(parents=True)
    os.utime(folder / ".killed", (0, 0))
    for number in range(7):
        ModelCache(folder).keep(f"{number}" * 64, model)
        os.utime(folder / (f"{number}" * 64), (time.time() - 100 + number, time.time() - 100 + number))
    assert {entry.name[0] for entry in folder.iterdir() if entry.name[0] != "."} == set("23456")
    assert [entry.name for entry in folder.iterdir() if entry.name[0] == "."] == [".going-on"]


def test_a_cache_that_cannot_be_written_keeps_nothing_and_ends_nothing(tmp_path: Path) -> None:
    source = tmp_path / "model"
    source.mkdir()
    (source / "model.json").write_text("{}")
    (tmp_path / "cache").write_text("a file where a folder should be")
    cache = ModelCache(tmp_path / "cache")
    cache.keep("a" * 64, source)
    assert cache.find("a" * 64) is None
    assert cache.copies() == {}
    cache.drop("a" * 64)
