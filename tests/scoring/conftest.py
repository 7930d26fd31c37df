"""What the tests of the log of requests share."""

from pathlib import Path

import pytest

from churn.stores import Store, open_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """The folder of a log of requests."""
    return open_store(str(tmp_path / "requests"))
