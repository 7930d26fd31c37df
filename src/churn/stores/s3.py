"""Objects in S3 and in stores that speak its protocol, with bounded waiting.

Every request is tried again where that may help (5xx, resets, time-outs) and not where it cannot (access denied, missing
bucket), and each ends within `PATIENCE`, so that nothing hangs. Large objects are read and written in pieces, each with
that limit. An object appears when all of it has been sent; an interrupted upload leaves nothing.
"""

import asyncio
import io
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any, TypeVar, cast

from churn.errors import ChurnError
from churn.stores.base import Hashing, Store, as_json

if TYPE_CHECKING:
    from s3fs import S3FileSystem

Result = TypeVar("Result")

# Seconds that one request may take, all its repetitions included.
PATIENCE = 40.0
CONNECT_TIMEOUT, READ_TIMEOUT = 5, 15
ATTEMPTS = 6
# Objects are read and written in pieces of this many bytes. Of 10,000 pieces, S3's limit, an object has 160 GiB at most.
PIECE = 16 << 20

# What a store says where repeating cannot help.
DENIED = {"403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "AllAccessDisabled", "ExpiredToken"}
NO_BUCKET = {"NoSuchBucket", "InvalidBucketName"}
ABSENT = {"404", "NoSuchKey", "NotFound"}
OVERTAKEN = {"412", "PreconditionFailed", "409", "ConditionalRequestConflict"}
UNCONDITIONAL = {"501", "NotImplemented"}
# What it says, with a status below 500, where repeating may help.
BUSY = {"SlowDown", "RequestTimeout", "TooManyRequests", "429", "Throttling", "ThrottlingException"}


class S3Store(Store):
    """A prefix or an object."""

    def __init__(self, path: str, credentials: Mapping[str, Any] | None = None) -> None:
        """Declare the place.

        Args:
            path: Bucket and key, ``bucket/prefix``.
            credentials: Arguments of `s3fs.S3FileSystem`: ``key``, ``secret``, ``client_kwargs`` with ``endpoint_url``,
                ``region_name`` and ``verify``. Empty values count as absent.
        """
        self.uri = f"s3://{path}"
        self._bucket, _, self._prefix = path.partition("/")
        self._credentials = _without_empty(credentials or {})
        self._endpoint = self._credentials.get("client_kwargs", {}).get("endpoint_url", "AWS S3")

    @property
    def _fs(self) -> "S3FileSystem":
        """The file system; s3fs keeps one for equal arguments, with its connections."""
        import s3fs

        given = {key: value for key, value in self._credentials.items() if key != "config_kwargs"}
        config = {
            "connect_timeout": CONNECT_TIMEOUT,
            "read_timeout": READ_TIMEOUT,
            # Repetition is the business of `_patiently` alone.
            "retries": {"total_max_attempts": 1},
            **self._credentials.get("config_kwargs", {}),
        }
        fs = s3fs.S3FileSystem(**given, config_kwargs=config)
        fs.retries = 1
        return fs

    def exists(self, name: str = "") -> bool:
        """Whether there is such an object."""
        return self._head(name) is not None

    def names(self) -> list[str]:
        """Names of all objects below the prefix."""
        return list(self._listed())

    def signatures(self) -> dict[str, str]:
        """Tags of the objects, which change with their content."""
        found = self._listed()
        if not found and (itself := self._head("")) is not None:
            return {"": str(itself["ETag"])}
        return found

    def _listed(self) -> dict[str, str]:
        """The tag of each object below the prefix, by its name."""
        prefix = f"{self._prefix}/" if self._prefix else ""
        tags: dict[str, str] = {}
        more: dict[str, str] = {}

        async def page(fs: "S3FileSystem") -> dict[str, Any]:
            answer: dict[str, Any] = await fs._call_s3("list_objects_v2", Bucket=self._bucket, Prefix=prefix, **more)
            return answer

        while True:
            answer = self._patiently(page, "")
            tags |= {entry["Key"].removeprefix(prefix): str(entry["ETag"]) for entry in answer.get("Contents", ())}
            if not answer.get("IsTruncated"):
                return {name: tag for name, tag in tags.items() if name and not name.endswith("/")}
            more = {"ContinuationToken": answer["NextContinuationToken"]}

    def size(self, name: str = "") -> int:
        """Size of an object in bytes."""
        return int(self._found(name)["ContentLength"])

    def _head(self, name: str) -> dict[str, Any] | None:
        try:
            return self._call("head_object", name)
        except _Absent:
            return None

    def _found(self, name: str) -> dict[str, Any]:
        head = self._head(name)
        if head is None:
            raise ChurnError(f"{self.address(name)} does not exist")
        return head

    def _open(self, name: str) -> IO[bytes]:
        head = self._found(name)
        raw = _ObjectReader(lambda start, end: self._piece(name, head["ETag"], start, end), int(head["ContentLength"]))
        return cast("IO[bytes]", io.BufferedReader(raw, buffer_size=1 << 20))

    def _piece(self, name: str, tag: str, start: int, end: int) -> bytes:
        """Bytes of an object, as long as it is still the one that was opened."""

        async def read(fs: "S3FileSystem") -> bytes:
            answer = await fs._call_s3("get_object", **self._at(name), Range=f"bytes={start}-{end - 1}", IfMatch=tag)
            async with answer["Body"] as body:
                content: bytes = await body.read()
            if len(content) != end - start:
                raise ConnectionError(f"{len(content)} of {end - start} bytes arrived")
            return content

        try:
            return self._patiently(read, name)
        except _Overtaken:
            raise ChurnError(f"{self.address(name)} was replaced while it was read; run again") from None

    @contextmanager
    def writing(self, name: str = "") -> Iterator[Hashing]:
        """Send an object: in one request, or in several that count when all are there."""
        upload = _Upload(lambda method, **arguments: self._call(method, name, **arguments))
        hashing = Hashing(upload)
        try:
            yield hashing
            upload.finish()
        except BaseException:
            upload.give_up()
            raise

    def update_json(self, change: Callable[[Any], Any], name: str = "") -> Any:
        """As `Store.update_json`, with a conditional write where the store has one."""
        while True:
            present = self._present(name)
            old = None if present is None else self._parsed(present[0], name)
            new = change(old)
            if new is None:
                return old
            unchanged = {"IfNoneMatch": "*"} if present is None else {"IfMatch": present[1]}
            try:
                self._call("put_object", name, Body=as_json(new), **unchanged)
            except _Overtaken:
                continue
            except _Unconditional:
                self.write_json(new, name)
            return new

    def read_json(self, name: str = "") -> Any:
        """As `Store.read_json`, in one answer of the store: a document that is being replaced is the old or the new one."""
        present = self._present(name)
        if present is None:
            raise ChurnError(f"{self.address(name)} does not exist")
        return self._parsed(present[0], name)

    def _present(self, name: str) -> tuple[bytes, str] | None:
        """Content and tag of an object, from one answer; ``None`` where there is none."""

        async def read(fs: "S3FileSystem") -> tuple[bytes, str]:
            answer = await fs._call_s3("get_object", **self._at(name))
            async with answer["Body"] as body:
                return await body.read(), answer["ETag"]

        try:
            return self._patiently(read, name)
        except _Absent:
            return None

    # --- requests -----------------------------------------------------------------------------------------------

    def _at(self, name: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": "/".join(filter(None, (self._prefix, name)))}

    def _call(self, method: str, name: str, **arguments: Any) -> dict[str, Any]:
        async def call(fs: "S3FileSystem") -> dict[str, Any]:
            answer: dict[str, Any] = await fs._call_s3(method, **self._at(name), **arguments)
            return answer

        return self._patiently(call, name)

    def _patiently(self, request: Callable[["S3FileSystem"], Awaitable[Result]], name: str) -> Result:
        """Make a request, again and again where that may help.

        Raises:
            ChurnError: If it came to nothing, with the endpoint and the setting that may be wrong.
            _Answer: If the store gave an answer that the caller has to deal with.
        """
        from fsspec.asyn import sync

        fs = self._fs

        async def repeatedly() -> Result:
            for attempt in range(ATTEMPTS):
                try:
                    return await request(fs)
                except Exception as error:
                    if attempt + 1 == ATTEMPTS or not _may_pass(error):
                        raise
                    # Twice as long each time, and not at the same moment as everybody else.
                    await asyncio.sleep(0.2 * 2**attempt * random.uniform(0.5, 1.5))  # noqa: S311
            raise AssertionError("the last attempt returns or raises")

        start = time.monotonic()
        try:
            result: Result = sync(fs.loop, repeatedly, timeout=PATIENCE)
        except (ChurnError, KeyboardInterrupt):
            raise
        except Exception as error:
            raise self._explained(error, name, time.monotonic() - start) from error
        return result

    def _explained(self, error: Exception, name: str, seconds: float) -> Exception:
        code, status = _answer_of(error)
        where = f"{self.address(name)} at {self._endpoint}"
        if code in OVERTAKEN:
            return _Overtaken(code)
        if code in UNCONDITIONAL or status == 501:
            return _Unconditional(code)
        if code in NO_BUCKET:
            return ChurnError(
                f"{where}: there is no bucket '{self._bucket}'; make it, or name another with CHURN_STAGING_BUCKET or "
                "CHURN_RESULTS_BUCKET"
            )
        if code in ABSENT:
            return _Absent(where)
        if code in DENIED or status in (401, 403):
            return ChurnError(
                f"{where}: access denied ({code}); check that the key of this identity may do this: "
                "CHURN_TRAINING_ACCESS_KEY for data and models, CHURN_SCORING_ACCESS_KEY for results, each with its "
                "..._SECRET_KEY"
            )
        if code is not None:
            return ChurnError(
                f"{where}: the store answered {status} {code} to the last of {ATTEMPTS} attempts; try later"
            )
        reason = f"no answer within {PATIENCE:.0f} seconds" if isinstance(error, TimeoutError) else _said(error)
        return ChurnError(
            f"{where}: {reason} (after {seconds:.0f} seconds); check that the store runs and that CHURN_S3_ENDPOINT is right"
        )


class _Upload:
    """An object that is sent while it is written, a piece at a time."""

    def __init__(self, call: Callable[..., dict[str, Any]]) -> None:
        self._call = call
        self._held = bytearray()
        self._upload: dict[str, str] = {}
        self._parts: list[dict[str, Any]] = []

    def write(self, content: Any) -> None:
        self._held += content
        while len(self._held) > PIECE:
            self._send(PIECE)

    def _send(self, length: int) -> None:
        if not self._upload:
            self._upload = {"UploadId": self._call("create_multipart_upload")["UploadId"]}
        number = len(self._parts) + 1
        sent = self._call("upload_part", PartNumber=number, Body=bytes(self._held[:length]), **self._upload)
        del self._held[:length]
        self._parts.append({"PartNumber": number, "ETag": sent["ETag"]})

    def finish(self) -> None:
        """Send the rest; the object is there then."""
        if not self._upload:
            self._call("put_object", Body=bytes(self._held))
            return
        self._send(len(self._held))
        self._call("complete_multipart_upload", MultipartUpload={"Parts": self._parts}, **self._upload)

    def give_up(self) -> None:
        """Take back what was sent; where that fails too, the store's own clean-up does it."""
        if self._upload:
            with suppress(ChurnError, _Answer):
                self._call("abort_multipart_upload", **self._upload)


class _ObjectReader(io.RawIOBase):
    """An object as a file for reading, fetched piece by piece."""

    def __init__(self, fetch: Callable[[int, int], bytes], size: int) -> None:
        self._fetch, self._size = fetch, size
        self._at = 0
        self._start, self._held = 0, b""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence] + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        wanted = min(len(buffer), self._size - self._at)
        if wanted <= 0:
            return 0
        if not self._start <= self._at < self._start + len(self._held):
            self._start = self._at
            self._held = self._fetch(self._at, min(self._at + PIECE, self._size))
        skipped = self._at - self._start
        content = self._held[skipped : skipped + wanted]
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)


class _Answer(Exception):  # noqa: N818
    """An answer of the store that the caller deals with."""


class _Absent(_Answer):
    """There is no such object."""


class _Overtaken(_Answer):
    """The object is another one by now."""


class _Unconditional(_Answer):
    """The store has no conditional writes."""


def _answer_of(error: BaseException | None) -> tuple[str | None, int | None]:
    """Code and status of what the store answered, if it did; s3fs hides them behind errors of its own."""
    while error is not None:
        answer = getattr(error, "response", None)
        if isinstance(answer, dict):
            status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
            return str(answer.get("Error", {}).get("Code", status)), status
        error = error.__cause__
    return None, None


def _may_pass(error: Exception) -> bool:
    """Whether repeating the request may help."""
    from aiohttp import ClientError as TransportError
    from botocore.exceptions import ConnectionError as NoConnection
    from botocore.exceptions import HTTPClientError

    code, status = _answer_of(error)
    if code is not None:
        return code in BUSY or (status is not None and status >= 500 and status != 501)
    return isinstance(error, NoConnection | HTTPClientError | TransportError | TimeoutError | OSError)


def _said(error: Exception) -> str:
    """What the libraries say of a failed connection, in one line."""
    text = str(error) or type(error).__name__
    return text.splitlines()[0].rstrip(".")


def _without_empty(values: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, value in values.items():
        given = _without_empty(value) if isinstance(value, Mapping) else value
        if given not in (None, "", {}):
            kept[key] = given
    return kept
