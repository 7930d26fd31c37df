"""The servers that containers talk to, started by the tests."""

from tests.stack import stack

__all__ = ["stack"]
