"""Logs as JSON."""

import json
import logging
from collections.abc import Iterator

import pytest
from rich.logging import RichHandler

from churn.errors import ChurnError
from churn.web.log_format import TRACE_ID, JsonFormatter, use_log_format


@pytest.fixture
def handlers() -> Iterator[list[logging.Handler]]:
    """The handlers of the root logger, which are restored."""
    root = logging.getLogger()
    before = list(root.handlers)
    root.handlers[:] = [RichHandler()]
    yield root.handlers
    root.handlers[:] = before


def ours(handlers: list[logging.Handler]) -> list[logging.Handler]:
    """Without those of pytest."""
    return [handler for handler in handlers if "Capture" not in type(handler).__name__]


def test_a_record_is_one_line_of_json(
    handlers: list[logging.Handler], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(TRACE_ID, "abc")
    for _ in range(2):  # a process may run several sessions
        use_log_format("json")
    assert len(ours(handlers)) == 1
    logger = logging.getLogger("churn.test_logs")
    logger.warning("two\nlines of %s", "\u00e9")
    logger.warning("another", extra={"trace_id": "def"})
    try:
        raise ValueError("no")
    except ValueError:
        logger.exception("failed")
    first, second, third = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (first["level"], first["logger"], first["message"]) == ("WARNING", "churn.test_logs", "two\nlines of \u00e9")
    assert first["trace_id"] == "abc"
    assert first["time"].endswith("+00:00")
    assert second["trace_id"] == "def"
    assert third["exception"].endswith("ValueError: no")


def test_without_a_trigger_there_is_no_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TRACE_ID, raising=False)
    record = logging.LogRecord("a", logging.INFO, "", 0, "b", (), None)
    assert "trace_id" not in json.loads(JsonFormatter().format(record))


@pytest.mark.parametrize("form", [None, "", "text"])
def test_text_is_the_default(handlers: list[logging.Handler], form: str | None) -> None:
    use_log_format(form)
    assert [type(handler) for handler in ours(handlers)] == [RichHandler]


@pytest.mark.parametrize("form", ["xml", "JSON", "text,json"])
def test_another_form_is_refused(form: str) -> None:
    with pytest.raises(ChurnError, match=f"CHURN_LOG_FORMAT = '{form}'"):
        use_log_format(form)
