"""A server that hears notifications, for the tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.operations.listening import Listener
from tests.operations.serving import Service


@pytest.fixture
def listener() -> Iterator[Listener]:
    listener = Listener()
    yield listener
    listener.close()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path)
    yield service
    service.close()
