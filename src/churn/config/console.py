"""What the console shows: paths, sizes, and progress bars. Bars that are shown at the same time are below each other."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress

Item = TypeVar("Item")

# The variable that makes the console show every node and data set; `kedro run --verbose` sets it.
VERBOSE = "CHURN_VERBOSE"


class _Display:
    """The bars that are shown, while there is at least one."""

    def __init__(self) -> None:
        self._bars: Progress | None = None
        self._users = 0

    def begin(self) -> "Progress":
        """Return the display, which is shown from now on."""
        if self._bars is None:
            from rich import get_console
            from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

            self._bars = Progress(
                TextColumn("{task.description}"),
                *(BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), TextColumn("[dim]{task.fields[doing]}")),
                transient=True,
                disable=not get_console().is_terminal,
            )
            self._bars.start()
        self._users += 1
        return self._bars

    def end(self) -> None:
        """Hide the display if nothing else uses it."""
        self._users = max(0, self._users - 1)
        if self._users == 0:
            self.close()

    def close(self) -> None:
        """Hide the display, whoever uses it."""
        if self._bars is not None:
            self._bars.stop()
        self._bars, self._users = None, 0


_DISPLAY = _Display()


def with_bar(items: Iterable[Item], description: str, total: int) -> Iterator[Item]:
    """Yield the items, with a progress bar if the output is a terminal."""
    with progress(description, total) as show:
        for done, item in enumerate(items):
            show(done)
            yield item
            show(done + 1)


@contextmanager
def progress(description: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a progress bar if the output is a terminal. Yields a function that takes the amount that is done."""
    with steps() as show:
        show(description, total, 0)
        yield lambda done: show(description, total, min(done, total))


@contextmanager
def steps() -> Iterator[Callable[..., None]]:
    """Show a progress bar whose text changes, if the output is a terminal.

    Yields a function that takes its description, the total, the amount that is done and, as `doing`, what goes on now.
    """
    bars = _DISPLAY.begin()
    task = bars.add_task("", total=None, visible=False, doing="")

    def show(description: str, total: int, done: int, doing: str = "") -> None:
        bars.update(task, description=description, total=total, completed=done, doing=doing, visible=True)

    try:
        yield show
    finally:
        bars.remove_task(task)
        _DISPLAY.end()


def hide_bars() -> None:
    """Hide all bars, for example after Ctrl-C, so that the terminal is as it was before."""
    _DISPLAY.close()


def shown_path(path: str) -> str:
    """Return a path relative to the current folder, if it is inside."""
    return path.removeprefix(f"{Path.cwd().as_posix()}/")


def shown_size(size: float) -> str:
    """Return a number of bytes for people: ``12 bytes``, ``1.5 kB``, ``340 MB``, ``12.0 GB``."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"
