"""The socket that a parent hands over, as systemd does."""

import os
import socket
from collections.abc import Callable

import pytest

from churn.errors import ChurnError
from churn.web import listening
from churn.web.listening import inherited

Given = Callable[..., None]


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Given:
    """Hands a descriptor over to this process."""

    def give(descriptor: int, count: str = "1", process: int | None = None) -> None:
        monkeypatch.setattr(listening, "FIRST_INHERITED", descriptor)
        monkeypatch.setenv("LISTEN_FDS", count)
        monkeypatch.setenv("LISTEN_PID", str(os.getpid() if process is None else process))
        monkeypatch.setenv("LISTEN_FDNAMES", "churn.socket")

    return give


def test_a_socket_is_taken_and_not_passed_on(given: Given) -> None:
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))  # not listening yet
        given(made.detach())
    taken = inherited("serve")
    assert taken is not None
    with taken:
        assert not taken.get_inheritable()
        assert not {"LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"} & os.environ.keys()
        with socket.create_connection(taken.getsockname()[:2]), taken.accept()[0]:
            pass
    assert inherited("serve") is None


def test_one_that_is_for_another_process_is_not_taken(given: Given) -> None:
    given(0, process=os.getpid() + 1)
    assert inherited("serve") is None
    assert os.environ["LISTEN_FDS"] == "1"


@pytest.mark.parametrize("count", ["0", "2", "", "one"])
def test_several_are_refused(given: Given, count: str) -> None:
    given(0, count=count)
    with pytest.raises(ChurnError, match=f"LISTEN_FDS = '{count}': churn serve takes one socket"):
        inherited("serve")


@pytest.mark.parametrize("kind", ["unix", "datagram", "file", "closed"])
def test_another_kind_is_refused(given: Given, kind: str, tmp_path: object) -> None:
    if kind == "unix":
        descriptor = socket.socket(socket.AF_UNIX).detach()
    elif kind == "datagram":
        descriptor = socket.socket(type=socket.SOCK_DGRAM).detach()
    else:
        descriptor = os.open(os.devnull, os.O_RDONLY)
    if kind == "closed":
        os.close(descriptor)
    given(descriptor)
    with pytest.raises(ChurnError, match="is no TCP socket that churn serve can listen on"):
        inherited("serve")
