"""Bars on a terminal, and none elsewhere; sizes in words."""

import io
import time
from collections.abc import Iterator

import pytest
import rich
from rich.console import Console

from churn.config.console import hide_bars, progress, shown_size, steps, with_bar


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    written = io.StringIO()
    monkeypatch.setattr(rich, "_console", Console(file=written, force_terminal=True, width=100))
    yield written
    hide_bars()


def test_bars_are_shown_below_each_other(terminal: io.StringIO) -> None:
    with steps() as show:
        show("Training", 10, 5, doing="fit parts")
        items = []
        for item in with_bar("abc", "tuning", total=3):
            items.append(item)
            time.sleep(0.12)  # a bar is drawn ten times a second
        assert items == ["a", "b", "c"]
        with progress("Reading", 100) as done:
            done(250)
            time.sleep(0.12)
    text = terminal.getvalue()
    for words in ("Training", "fit parts", "tuning", "Reading", "50%"):
        assert words in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1  # the cursor is shown again


def test_bars_can_be_hidden_from_outside(terminal: io.StringIO) -> None:
    bars = steps()
    show = bars.__enter__()
    show("Training", 10, 5)
    hide_bars()
    assert terminal.getvalue().endswith("\x1b[?25h") or "\x1b[?25h" in terminal.getvalue()
    bars.__exit__(None, None, None)
    hide_bars()
    with progress("again", 2) as done:
        done(1)


def test_without_a_terminal_nothing_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    monkeypatch.setattr(rich, "_console", Console(file=written, force_terminal=False))
    assert list(with_bar([1, 2], "tuning", total=2)) == [1, 2]
    assert written.getvalue() == ""


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1500, "1.5 kB"),
        (340_000_000, "340 MB"),
        (12e9, "12.0 GB"),
        (2_340_000, "2.3 MB"),
        (10**12, "1.0 TB"),
        (10**15, "1,000.0 TB"),
    ],
)
def test_sizes_in_words(size: float, said: str) -> None:
    assert shown_size(size) == said
