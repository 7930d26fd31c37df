"""The command `churn status`, which `churn.__main__` runs without the rest of this room."""

import copy
from collections.abc import Callable
from typing import Any, cast

from churn.cli.commands import cli, explained
from churn.operations.status.command import status as quick

status = copy.copy(quick)
status.callback = explained(cast("Callable[..., Any]", quick.callback))
cli.add_command(status)
