"""What the project needs of the interpreter and the home folder."""

import os
from pathlib import Path

import pytest

from churn.config.machine import check_interpreter, use_writable_folders


def test_an_interpreter_without_docstrings_is_refused() -> None:
    check_interpreter(0)
    check_interpreter(1)
    with pytest.raises(SystemExit, match="PYTHONOPTIMIZE=2"):
        check_interpreter(2)


def test_fonts_are_kept_in_the_project_if_there_is_no_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MPLCONFIGDIR", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    use_writable_folders(tmp_path)
    assert "MPLCONFIGDIR" not in os.environ
    monkeypatch.setenv("HOME", "/dev/null/home")
    use_writable_folders(tmp_path)
    assert os.environ["MPLCONFIGDIR"] == str(tmp_path / ".cache/matplotlib")
    monkeypatch.setenv("MPLCONFIGDIR", "/mine")
    use_writable_folders(tmp_path)
    assert os.environ["MPLCONFIGDIR"] == "/mine"
