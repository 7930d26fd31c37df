"""The house keeps its shape: few things at the top, few floors, no circle, no file that nobody wants to read."""

from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.rooms import arrows_of, floors_of

PACKAGE = ROOT / "src/churn"
MOST_LINES = 400


def test_the_package_has_few_rooms_on_few_floors_and_no_circle() -> None:
    floors, circles = floors_of(arrows_of(ROOT / "src"))
    assert circles == []
    assert max(floors.values()) <= 12
    top = [entry for entry in PACKAGE.iterdir() if not entry.name.startswith("__")]
    assert len(top) <= 28


def test_a_circle_would_be_found() -> None:
    floors, circles = floors_of({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set(), "e": {"a", "d"}})
    assert circles == [{"b", "c"}]
    assert floors == {"b": 1, "c": 1, "d": 1, "a": 2, "e": 3}


@pytest.mark.parametrize("folder", ["src/churn"])
def test_no_file_is_long(folder: str) -> None:
    long = {
        file.relative_to(ROOT).as_posix(): lines
        for file in Path(ROOT / folder).rglob("*.py")
        if (lines := len(file.read_text(encoding="utf-8").splitlines())) > MOST_LINES
    }
    assert long == {}


def test_every_room_says_what_it_is_for() -> None:
    for room in PACKAGE.iterdir():
        if (room / "__init__.py").exists():
            first = (room / "__init__.py").read_text(encoding="utf-8").splitlines()[0]
            assert first.startswith('"""'), room.name
            assert len(first) > 20, room.name
