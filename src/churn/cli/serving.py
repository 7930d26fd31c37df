"""The command `churn serve`, which `churn` itself starts without the imports of the other commands."""

import copy

from churn.cli.commands import cli, explained
from churn.serving.command import serve as started

serve = copy.copy(started)
assert started.callback is not None  # noqa: S101
serve.callback = explained(started.callback)
cli.add_command(serve)
