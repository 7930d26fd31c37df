"""The S3 store against a real server, and against one that misbehaves."""

import hashlib
import io
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import churn.stores.s3 as s3_module
from churn.errors import ChurnError
from churn.stores import Store, Stored, open_store
from churn.stores.patience import Patience
from churn.stores.s3 import S3Store
from churn.stores.s3_client import CONNECT_TIMEOUT
from tests.proxy import Fault, FaultyProxy
from tests.stack import Stack

PORT = "CHURN_S3_ENDPOINT"


@pytest.fixture
def proxy(stack: Stack) -> Iterator[FaultyProxy]:
    with FaultyProxy(stack.s3.ports[0]) as proxy:
        yield proxy


@pytest.fixture
def pauses() -> list[float]:
    """How long was waited between attempts, if sleeping took time here."""
    return []


@pytest.fixture
def through(stack: Stack, place: str, proxy: FaultyProxy, pauses: list[float]) -> Store:
    """The same place through the proxy."""
    return patient(stack, place, proxy, Patience(sleep=pauses.append))


def patient(stack: Stack, place: str, proxy: FaultyProxy, patience: Patience) -> Store:
    return S3Store(place.removeprefix("s3://"), stack.credentials(stack.settings.scoring, proxy.address), patience)


def content_of(size: int) -> bytes:
    return (hashlib.sha256(str(size).encode()).digest() * (size // 32 + 1))[:size]


def written(content: bytes) -> Any:
    return lambda file: file.write(content)


# --- what a store does ------------------------------------------------------------------------------------------


def test_objects_are_listed(store: Store) -> None:
    assert store.names() == []
    names = sorted(f"2026/{number:04}.csv" for number in range(1003))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: store.write(written(b"x"), name), names))
    store.write(written(b"x"), "a.csv")
    assert sorted(store.names()) == [*names, "a.csv"]


@pytest.mark.parametrize("size", [0, 1, 100_000, 12 << 20])
def test_what_was_written_is_read(store: Store, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(s3_module, "PIECE", 5 << 20)  # the least that a part of an upload may have
    content = content_of(size)
    stored = store.write(written(content), "a/b.bin")
    assert stored == Stored(size, hashlib.sha256(content).hexdigest())
    assert store.exists("a/b.bin")
    assert store.size("a/b.bin") == size
    assert store.sha256("a/b.bin") == stored.sha256
    with store.reading("a/b.bin") as file:
        assert file.read() == content
    store.verify("a/b.bin", stored)
    with pytest.raises(ChurnError, match=r"a/b.bin was not stored as it was written"):
        store.verify("a/b.bin", Stored(size, "0" * 64))


def test_a_file_can_be_read_in_any_order(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_module, "PIECE", 1_000)
    content = content_of(10_500)
    store.write(written(content[:900]), "x")
    monkeypatch.setattr(s3_module, "PIECE", 16 << 20)
    store.write(written(content), "x")
    monkeypatch.setattr(s3_module, "PIECE", 1_000)
    with store.reading("x") as file:
        for start, length in ((0, 10), (9_999, 501), (500, 2_000), (10_490, 100)):
            file.seek(start)
            assert file.tell() == start
            assert file.read(length) == content[start : start + length]
        file.seek(-5, io.SEEK_END)
        assert file.read() == content[-5:]
        assert file.read(1) == b""


def test_packed_files_are_unpacked(store: Store) -> None:
    import gzip

    store.write(written(gzip.compress(b"a,b\n1,2\n")), "t.csv.gz")
    with store.reading("t.csv.gz") as file:
        assert file.read() == b"a,b\n1,2\n"


def test_a_write_that_fails_half_way_leaves_what_was_there(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_module, "PIECE", 5 << 20)
    store.write(written(b"old"), "x")

    def half(file: Any) -> None:
        file.write(b"new" * 100)
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        store.write(half, "x")
    with pytest.raises(RuntimeError, match="broken"):
        store.write(half, "y")
    with store.reading("x") as file:
        assert file.read() == b"old"
    assert not store.exists("y")


def test_an_object_that_is_replaced_while_it_is_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write(written(content_of(3 << 20)), "x")
    monkeypatch.setattr(s3_module, "PIECE", 1 << 20)
    with store.reading("x") as file:
        file.read(10)
        monkeypatch.setattr(s3_module, "PIECE", 16 << 20)
        store.write(written(content_of(2 << 20)), "x")
        monkeypatch.setattr(s3_module, "PIECE", 1 << 20)
        with pytest.raises(ChurnError, match="x was replaced while it was read"):
            file.read()


def test_updates_at_the_same_moment_are_not_lost(stack: Stack, place: str) -> None:
    def count() -> None:
        mine = open_store(place, stack.credentials(stack.settings.scoring))
        for _ in range(5):
            mine.update_json(lambda old: {"count": (old or {"count": 0})["count"] + 1}, "counter.json")

    with ThreadPoolExecutor(6) as pool:
        for done in [pool.submit(count) for _ in range(6)]:
            done.result()
    store = open_store(place, stack.credentials(stack.settings.scoring))
    assert store.read_json("counter.json") == {"count": 30}
    assert store.update_json(lambda old: None, "counter.json") == {"count": 30}


# --- what cannot be mended by waiting: at once, and no second time ----------------------------------------------


def test_what_is_not_there_is_named(store: Store, place: str) -> None:
    assert not store.exists("nothing")
    with pytest.raises(ChurnError, match=f"{place}/nothing does not exist"), store.reading("nothing"):
        pass


def requests_of(proxy: FaultyProxy) -> int:
    return len(proxy.requests)


def test_a_missing_bucket(stack: Stack, proxy: FaultyProxy) -> None:
    lost = open_store("s3://no-such-bucket/x", stack.credentials(stack.settings.admin, proxy.address))
    for attempt in (lambda: lost.write_json(1, "a.json"), lambda: lost.read_json("a.json")):
        before = requests_of(proxy)
        with pytest.raises(ChurnError) as caught:
            attempt()
        assert requests_of(proxy) == before + 1
        assert f"s3://no-such-bucket/x/a.json at {proxy.address}" in str(caught.value) or "does not exist" in str(
            caught.value
        )
    with pytest.raises(ChurnError, match="there is no bucket 'no-such-bucket'; create it, or name another with CHURN_"):
        lost.write_json(1, "a.json")


@pytest.mark.parametrize("who", ["wrong secret", "unknown key", "no rights"])
def test_access_denied(stack: Stack, proxy: FaultyProxy, place: str, who: str) -> None:
    scoring = stack.settings.scoring
    identity = {
        "wrong secret": scoring._replace(secret_key="x" * 40),
        "unknown key": scoring._replace(access_key="nobody"),
        "no rights": stack.settings.training,
    }[who]
    denied = open_store(place, stack.credentials(identity, proxy.address))
    for attempt in (
        lambda: denied.write_json(1, "a.json"),
        lambda: denied.read_json("a.json"),
        lambda: denied.exists("a.json"),
    ):
        before = requests_of(proxy)
        with pytest.raises(ChurnError, match="access denied") as caught:
            attempt()
        assert requests_of(proxy) == before + 1
        assert proxy.address in str(caught.value)
        assert "CHURN_SCORING_ACCESS_KEY" in str(caught.value)
        assert identity.secret_key not in str(caught.value)


# --- what may pass ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["reset", "busy", "cut"])
def test_a_fault_that_passes_is_waited_for(
    through: Store, proxy: FaultyProxy, pauses: list[float], fault: Fault
) -> None:
    through.write(written(b"old"), "x")
    proxy.fail(fault, times=2)
    through.write(written(content_of(200_000)), "x")
    if fault == "busy":
        first, second = pauses
        assert 0.1 <= first <= 0.3
        assert 0.2 <= second <= 0.6
    proxy.fail(fault, times=2)
    with through.reading("x") as file:
        assert file.read() == content_of(200_000)
    proxy.fail(fault, times=2)
    assert through.update_json(lambda old: {"n": (old or {"n": 0})["n"] + 1}, "n.json") == {"n": 1}
    assert through.read_json("n.json") == {"n": 1}


def test_a_document_that_is_replaced_while_it_is_read_is_the_old_or_the_new_one(
    through: Store, store: Store, proxy: FaultyProxy
) -> None:
    store.write_json({"n": 0}, "n.json")

    def replaced(line: bytes) -> None:
        proxy.on_request = None
        if b"n.json" in line:
            store.write_json({"n": 1}, "n.json")

    for _ in range(2):
        before = requests_of(proxy)
        proxy.on_request = replaced
        assert through.read_json("n.json") in ({"n": 0}, {"n": 1})
        # Asked for in one request, it cannot change between two.
        assert requests_of(proxy) == before + 1
    with pytest.raises(ChurnError, match=r"none\.json does not exist"):
        through.read_json("none.json")


FAULTS: list[tuple[Fault, str]] = [
    ("refuse", "Could not connect to the endpoint|Connect call failed"),
    ("hang", "no answer within"),
    ("slow", "no answer within"),
    ("reset", "Could not connect to the endpoint|Connection was closed|reset"),
    ("busy", "the store answered 503 (SlowDown|503) to the last of 3 attempts"),
]


@pytest.mark.parametrize(("fault", "said"), FAULTS)
def test_a_fault_that_stays_ends_in_time_and_changes_nothing(
    stack: Stack, place: str, store: Store, proxy: FaultyProxy, pauses: list[float], fault: Fault, said: str
) -> None:
    seconds = 1.0 if fault in ("hang", "slow") else Patience().seconds
    through = patient(stack, place, proxy, Patience(seconds, attempts=3, sleep=pauses.append))
    store.write(written(b"old"), "x")
    proxy.fail(fault)
    for attempt in (lambda: through.write(written(b"new"), "x"), lambda: through.read_json("x")):
        start = time.monotonic()
        pauses.clear()
        with pytest.raises(ChurnError, match=said) as caught:
            attempt()
        assert time.monotonic() - start < seconds + 20  # on a busy machine
        assert len(pauses) == 2 or fault in ("hang", "slow")
        assert proxy.address in str(caught.value)
        if fault != "busy":
            assert "CHURN_S3_ENDPOINT" in str(caught.value)
    with store.reading("x") as file:
        assert file.read() == b"old"


def test_what_was_given_up_does_not_appear_later(stack: Stack, place: str, store: Store, proxy: FaultyProxy) -> None:
    store.write(written(b"old"), "x")
    told = threading.Event()
    proxy.on_request = lambda line: told.wait() if line.startswith(b"PUT") else None
    through = patient(stack, place, proxy, Patience(seconds=0.3, attempts=1))
    with pytest.raises(ChurnError, match=r"no answer within 0\.3 seconds"):
        through.write(written(b"new"), "x")
    told.set()  # from here on the way is free, and the request still under way
    for thread in threading.enumerate():
        if thread.name == "request":
            thread.join()
    with store.reading("x") as file:
        assert file.read() == b"old"


def test_an_upload_in_pieces_that_breaks_off_leaves_nothing(
    through: Store, store: Store, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_module, "PIECE", 5 << 20)
    store.write(written(b"old"), "big")

    def break_at_the_second(line: bytes) -> None:
        if b"partNumber=2" in line:
            proxy.on_request = None
            proxy.fail("refuse")

    proxy.on_request = break_at_the_second
    with pytest.raises(ChurnError, match="big at"):
        through.write(written(content_of(12 << 20)), "big")
    with store.reading("big") as file:
        assert file.read() == b"old"


def test_an_upload_in_pieces_that_fails_is_taken_back(
    through: Store, stack: Stack, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    import boto3

    monkeypatch.setattr(s3_module, "PIECE", 5 << 20)
    admin = stack.settings.admin
    client = boto3.client(
        "s3",
        endpoint_url=stack.settings.endpoint,
        aws_access_key_id=admin.access_key,
        aws_secret_access_key=admin.secret_key,
        region_name="us-east-1",
    )

    def unfinished() -> list[str]:
        found = client.list_multipart_uploads(Bucket=stack.settings.results).get("Uploads", [])
        return [upload["Key"] for upload in found if upload["Key"].endswith("taken-back")]

    def half(file: Any) -> None:
        file.write(content_of(12 << 20))
        assert len(unfinished()) == 1
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        through.write(half, "taken-back")
    assert unfinished() == []


def test_the_limits_are_those_that_are_documented() -> None:
    assert Patience().seconds + CONNECT_TIMEOUT < 60


def test_an_argument_of_the_store_that_nobody_knows_is_named() -> None:
    with pytest.raises(ChurnError, match="unknown argument endpoint_ulr; known are key, "):
        S3Store("b/x", {"endpoint_ulr": "http://127.0.0.1:1"}).exists("y")


@pytest.mark.parametrize(
    ("more", "header", "value"),
    [
        ({"requester_pays": True}, "x-amz-request-payer", "requester"),
        ({"s3_additional_kwargs": {"ServerSideEncryption": "AES256"}}, "x-amz-server-side-encryption", "AES256"),
        ({"token": "of-a-session"}, "X-Amz-Security-Token", "of-a-session"),
    ],
)
def test_arguments_of_the_store_reach_it(more: dict[str, Any], header: str, value: str) -> None:
    """Told by the request itself, as the servers of the tests take no notice of them."""
    from churn.stores.s3_client import client_of

    credentials = {"key": "k", "secret": "s", "client_kwargs": {"endpoint_url": "http://127.0.0.1:1"}, **more}
    seen: dict[str, str] = {}

    def look(request: Any, **_: Any) -> None:
        seen.update({name: getattr(each, "decode", lambda each=each: each)() for name, each in request.headers.items()})

    client_of(credentials).meta.events.register("before-send.s3", look)
    with pytest.raises(ChurnError):
        S3Store("b/x", credentials, Patience(attempts=1)).write_json(1, "y")
    assert seen[header] == value


def test_empty_settings_count_as_absent() -> None:
    bare = S3Store("b/x", {"key": "", "secret": "", "client_kwargs": {"endpoint_url": "", "verify": ""}})
    assert bare._credentials == {}
    assert bare._endpoint == "AWS S3"
