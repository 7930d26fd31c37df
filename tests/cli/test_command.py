"""The command `churn` finds out whose code it is."""

from pathlib import Path

from churn.__main__ import other_checkout
from tests.conftest import ROOT


def test_the_command_of_another_checkout_is_recognised(tmp_path: Path) -> None:
    assert other_checkout(ROOT) is None
    assert other_checkout(tmp_path) is None  # a project without code, which uses an installed package
    (tmp_path / "src/churn").mkdir(parents=True)
    assert other_checkout(tmp_path) == ROOT
