"""The log as JSON."""

import json
import logging
import logging.config
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from churn.errors import ChurnError

# The form of the log: lines for people, or an object of JSON for each record.
FORMAT = "CHURN_LOG_FORMAT"
# Kedro's variable with the file that configures the log, and that file in a project.
LOGGING, LOGGING_FILE = "KEDRO_LOGGING_CONFIG", "conf/logging.yml"
# The variable with the id that a run has in logs and in MLflow.
TRACE_ID = "CHURN_TRACE_ID"


class JsonFormatter(logging.Formatter):
    """One line of JSON for each record, for programs that collect logs.

    It has ``time`` (UTC), ``level``, ``logger``, ``message``, and, if there is one, ``trace_id`` and ``exception``.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if trace_id := getattr(record, "trace_id", None) or os.environ.get(TRACE_ID):
            entry["trace_id"] = str(trace_id)
        if record.exc_info and record.exc_info[0] is not None:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


def use_log_file() -> None:
    """Configure the log by the file of the variable `LOGGING`, as Kedro does but without the import of its framework.

    Without the variable, or if its file does not exist, nothing is changed.
    """
    import yaml

    path = os.environ.get(LOGGING)
    file = Path(path) if path else None
    if file is not None and file.is_file():
        logging.config.dictConfig(yaml.safe_load(file.read_text(encoding="utf-8")))


def use_log_format(form: str | None) -> None:
    """Write the log as the variable ``CHURN_LOG_FORMAT`` says.

    Args:
        form: Value of the variable: ``text``, also if it is empty, or ``json``.

    Raises:
        ChurnError: If it names no form.
    """
    form = form or "text"
    if form not in ("text", "json"):
        raise ChurnError(f"{FORMAT} = {form!r}: the log is written as text or as json")
    root = logging.getLogger()
    if form == "text" or any(isinstance(handler.formatter, JsonFormatter) for handler in root.handlers):
        return
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter())
    for old in [each for each in root.handlers if type(each).__name__ == "RichHandler"]:
        root.removeHandler(old)
    root.addHandler(handler)
