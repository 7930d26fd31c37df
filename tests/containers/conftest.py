"""The servers that containers talk to, started by the tests."""

from ..stack import stack

__all__ = ["stack"]
