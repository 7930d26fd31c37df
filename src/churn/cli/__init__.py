"""The commands: `churn`, and `kedro` in this project, which finds them under this name."""

from churn.cli.commands import cli, run

__all__ = ["cli", "run"]
