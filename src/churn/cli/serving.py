"""The command `churn serve`, which `churn` itself starts without the imports of the other commands."""

from churn.cli.commands import cli, explained
from churn.operations.refusals import refusal_messages
from churn.serving.command import serve_command

serve = serve_command(refusal_messages)
assert serve.callback is not None  # noqa: S101
serve.callback = explained(serve.callback)
cli.add_command(serve)
