"""The house at a glance: ``python -m tests.rooms [CHECKOUT]`` lists rooms, floors, arrows and circles of ``src/churn``.

A room is a file or a folder at the top of the package. A room stands one floor above the highest that it imports. Beside
each room stand its modules, its lines, and the rooms that it imports.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

import grimp

PACKAGE = "churn"


def arrows_of(source: Path) -> dict[str, set[str]]:
    """The rooms that each room imports.

    Args:
        source: Folder that holds the package.
    """
    sys.path.insert(0, str(source))
    try:
        graph = grimp.build_graph(PACKAGE, cache_dir=None)
    finally:
        sys.path.remove(str(source))
    arrows: dict[str, set[str]] = {child: set() for child in graph.find_children(PACKAGE)}
    for module in graph.modules - {PACKAGE}:
        for imported in graph.find_modules_directly_imported_by(module):
            if imported != PACKAGE and room_of(imported) != room_of(module):
                arrows[room_of(module)].add(room_of(imported))
    return arrows


def room_of(module: str) -> str:
    """The room that a module is in."""
    return ".".join(module.split(".")[:2])


def floors_of(arrows: Mapping[str, set[str]]) -> tuple[dict[str, int], list[set[str]]]:
    """The floor of each room, from 1, and the circles: rooms that import each other share a floor."""

    def reached(start: str) -> set[str]:
        found: set[str] = set()
        waiting = list(arrows[start])
        while waiting:
            room = waiting.pop()
            if room not in found:
                found.add(room)
                waiting += arrows[room]
        return found

    below = {room: reached(room) for room in arrows}
    circle_of = {room: {other for other in below[room] if room in below[other]} | {room} for room in arrows}
    floors: dict[str, int] = {}

    def floor(room: str) -> int:
        if room not in floors:
            circle = circle_of[room]
            under = {other for member in circle for other in arrows[member]} - circle
            height = 1 + max(map(floor, under), default=0)
            floors.update(dict.fromkeys(circle, height))
        return floors[room]

    for room in arrows:
        floor(room)
    circles = {frozenset(circle) for circle in circle_of.values() if len(circle) > 1}
    return floors, [set(circle) for circle in circles]


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkout", nargs="?", type=Path, default=Path(__file__).parents[1], help="by default this one")
    source = parser.parse_args().checkout / "src"
    arrows = arrows_of(source)
    floors, circles = floors_of(arrows)
    print(f"{'floor':>5}  {'room':<20} {'files':>5} {'lines':>6}  imports")
    for room in sorted(arrows, key=lambda room: (-floors[room], room)):
        place = source / room.replace(".", "/")
        files = sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
        lines = sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files)
        imports = " ".join(sorted(other.partition(".")[2] for other in arrows[room]))
        print(f"{floors[room]:>5}  {room.partition('.')[2]:<20} {len(files):>5} {lines:>6}  {imports}")
    longest = max(source.rglob("*.py"), key=lambda file: len(file.read_text(encoding="utf-8").splitlines()))
    count = len(longest.read_text(encoding="utf-8").splitlines())
    print(
        f"\n{len(arrows)} rooms on {max(floors.values())} floors, {sum(map(len, arrows.values()))} arrows, "
        f"{len(circles)} circles between rooms; the longest file is {longest.relative_to(source)} with {count} lines"
    )
    for circle in circles:
        print("circle:", " ".join(sorted(circle)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
