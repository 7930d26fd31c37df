"""State files: whole, typed, and never in the way."""

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from filelock import FileLock

from churn.errors import ChurnError
from churn.stores.state import StateFile


def times(path: Path) -> StateFile[dict[str, float]]:
    return StateFile(path, dict[str, float], dict)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    file = times(tmp_path / "deep" / "times.json")
    assert file.read() == {}
    file.write({"a": 1.5})
    assert file.read() == {"a": 1.5}
    assert json.loads(file.path.read_text()) == {"a": 1.5}


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"a": 1.', b"[]", b"null", b'{"a": "soon"}', b'{"a": {}}', b"\xff\xfe\x00", b"\x00" * 100]
)
def test_a_damaged_file_is_set_aside_with_one_warning(
    content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = times(tmp_path / "times.json")
    file.path.write_bytes(content)
    assert file.read() == file.read() == {}
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    [aside] = tmp_path.glob("times.json.damaged-*")
    assert aside.read_bytes() == content
    assert aside.name in caplog.text
    file.update(lambda known: {**known, "b": 2.0})
    assert file.read() == {"b": 2.0}


def test_a_folder_in_its_place_is_set_aside_too(tmp_path: Path) -> None:
    file = times(tmp_path / "times.json")
    file.path.mkdir()
    assert file.read() == {}
    file.write({"a": 1.0})
    assert file.read() == {"a": 1.0}


def test_changes_at_once_are_all_kept(tmp_path: Path) -> None:
    def add(name: int) -> None:
        times(tmp_path / "times.json").update(lambda known: {**known, str(name): float(name)})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(40)))
    assert times(tmp_path / "times.json").read() == {str(name): float(name) for name in range(40)}


def test_what_cannot_be_written_is_an_error_or_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "folder").write_text("a file where a folder should be")
    file = times(tmp_path / "folder" / "times.json")
    with pytest.raises(ChurnError, match=r"times\.json cannot be written"):
        file.update(lambda known: known)
    assert not file.note(lambda known: known)
    assert "times.json cannot be written" in caplog.text


def test_a_file_that_another_process_changes_for_too_long_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("churn.stores.state.PATIENCE", 0.01)
    file = times(tmp_path / "times.json")
    file.write({"a": 1.0})
    with FileLock(f"{file.path}.lock"):
        with pytest.raises(ChurnError, match="in use by another process"):
            file.update(lambda known: {**known, "b": 2.0})
        assert not file.note(lambda known: {**known, "b": 2.0})
    assert file.read() == {"a": 1.0}
    assert "in use by another process" in caplog.text


def test_a_damaged_file_that_another_process_sets_aside_first_is_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = times(tmp_path / "times.json")
    file.path.write_bytes(b"{")
    replace = Path.replace

    def late(path: Path, target: Path) -> Path:
        replace(path, target.with_name("by-another-process"))
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", late)
    assert file.read() == {}
    assert not caplog.records
