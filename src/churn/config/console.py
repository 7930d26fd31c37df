"""Progress bars on the console."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")


def with_bar(items: Iterable[Item], description: str, total: int) -> Iterator[Item]:
    """Yield the items, with a progress bar if the output is a terminal."""
    from rich.progress import track

    yield from track(items, description=description, total=total)


@contextmanager
def progress(description: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a progress bar if the output is a terminal. Yields a function that takes the amount that is done."""
    from rich import get_console
    from rich.progress import Progress

    with Progress(transient=True, disable=not get_console().is_terminal) as bar:
        task = bar.add_task(description, total=total)
        yield lambda done: bar.update(task, completed=min(done, total))
