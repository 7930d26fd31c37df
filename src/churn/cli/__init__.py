"""The commands of `churn`, and of `kedro` in this project, which looks for them in this module."""

from churn.cli import backups, onboarding, pruning, serving, status, tracking
from churn.cli.commands import cli, run

__all__ = ["backups", "cli", "onboarding", "pruning", "run", "serving", "status", "tracking"]
