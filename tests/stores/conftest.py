"""A place in a bucket, for the tests that need one."""

import uuid

import pytest

from churn.stores import Store, open_store
from tests.stack import Stack, stack

__all__ = ["stack"]


@pytest.fixture
def place(stack: Stack) -> str:
    assert stack.s3
    return f"s3://{stack.settings.results}/{uuid.uuid4().hex}"


@pytest.fixture
def store(stack: Stack, place: str) -> Store:
    return open_store(place, stack.credentials(stack.settings.scoring))
