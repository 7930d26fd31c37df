"""The commands `churn backup` and `churn restore` and the parts that they name."""

from click.testing import CliRunner

from churn.cli import backups
from churn.cli.commands import cli
from churn.operations.backup import manifest


def test_the_parts_of_the_options_are_those_of_a_backup() -> None:
    assert manifest.PARTS == backups.PARTS
    assert set(manifest.FOLDERS) == set(manifest.PARTS)


def test_help_tells_what_is_copied_and_what_a_restore_refuses() -> None:
    for command, words in (
        ("backup", ("--to", "--only", "--database-dump", "--env", "Credentials are not copied")),
        ("restore", ("--check", "--replace", "--only", "--env", "refused")),
    ):
        told = CliRunner().invoke(cli, [command, "--help"]).output
        assert all(word in told for word in words), told


def test_a_part_that_there_is_not() -> None:
    done = CliRunner().invoke(cli, ["backup", "--only", "model"])
    assert done.exit_code == 2
    assert "models" in done.output
