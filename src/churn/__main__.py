"""The command `churn`: the project's own commands, and `kedro run` as the project shows its errors."""

import os
import sys
from pathlib import Path


def main() -> None:
    """Run it in the project that the current folder belongs to."""
    import click
    from kedro.utils import find_kedro_project

    project = find_kedro_project(Path.cwd())
    if project is not None:
        # Kedro itself looks for it in the current folder only, when it is imported.
        os.environ.setdefault("KEDRO_LOGGING_CONFIG", str(Path(project) / "conf/logging.yml"))
        from kedro.framework.startup import bootstrap_project

        bootstrap_project(Path(project))
    elif "--help" not in sys.argv[1:]:
        click.echo("Error: this folder is in no Kedro project; go to the one with conf and pyproject.toml", err=True)
        sys.exit(1)
    from churn.cli.commands import cli

    cli(prog_name="churn")


if __name__ == "__main__":
    main()
