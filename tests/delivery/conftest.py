"""Targets for the tests: a database in a file, PostgreSQL, and a server that takes what a webhook sends."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from churn.services.postgres import database_uri
from tests.delivery.receiving import SECRET, Receiver
from tests.delivery.worlds import World
from tests.stack import Stack, stack

__all__ = ["stack"]


@pytest.fixture
def sqlite(tmp_path: Path) -> World:
    """A world whose target is a table of a database in a file, ``crm.db``."""
    return World(tmp_path, {"url": f"sqlite:///{tmp_path}/crm.db"}, kind="sql", table="scores")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def hook(tmp_path: Path, receiver: Receiver) -> World:
    """A world whose target is the receiver."""
    credentials = {"webhook": f"{receiver.url}/hook", "secret": SECRET}
    return World(tmp_path, credentials, kind="webhook", batch=100, wait=0.01, timeout=5.0)


@pytest.fixture
def postgres_uri(stack: Stack) -> str:
    if stack.database is None:
        pytest.skip("PostgreSQL is not installed here")
    return database_uri(stack.folder, stack.settings)


@pytest.fixture
def postgres(tmp_path: Path, postgres_uri: str) -> World:
    """A world whose target is a table of PostgreSQL, of which no other test knows."""
    name = f"t{uuid.uuid4().hex[:8]}"
    return World(tmp_path, {"url": postgres_uri}, kind="sql", table=f"Scores {name}", name=name)
