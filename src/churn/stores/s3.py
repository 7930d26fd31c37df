"""Objects in S3 and in compatible stores, with bounded waits.

A request is retried after temporary errors (5xx, resets, time-outs), not after permanent ones (access denied, missing bucket),
and ends within its `Patience`, so that nothing hangs. Large objects are read and written in pieces, each with that limit. An
object becomes visible once it has been sent completely; an interrupted upload leaves nothing.
"""

import io
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from email.utils import parsedate_to_datetime
from typing import IO, Any, cast

from churn.errors import ChurnError
from churn.stores.base import Entry, Hashing, Store, as_json
from churn.stores.occupied import SILENCE
from churn.stores.patience import Patience
from churn.stores.s3_bodies import Body, ObjectReader
from churn.stores.s3_client import additional_arguments, client_of, without_empty

# Size of a piece in bytes. S3 allows 10,000 pieces, so an object has at most 160 GiB.
PIECE = 16 << 20

# Error codes after which a retry cannot help.
DENIED = {"403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "AllAccessDisabled", "ExpiredToken"}
NO_BUCKET = {"NoSuchBucket", "InvalidBucketName"}
ABSENT = {"404", "NoSuchKey", "NotFound", "NoSuchUpload"}
OVERTAKEN = {"412", "PreconditionFailed", "409", "ConditionalRequestConflict"}
UNCONDITIONAL = {"501", "NotImplemented"}
# Error codes with a status below 500 after which a retry may help.
BUSY = {"SlowDown", "RequestTimeout", "TooManyRequests", "429", "Throttling", "ThrottlingException"}


class S3Store(Store):
    """A prefix or an object in S3."""

    def __init__(
        self, path: str, credentials: Mapping[str, Any] | None = None, patience: Patience | None = None
    ) -> None:
        """Set bucket and prefix. No request is made yet.

        Args:
            path: Bucket and key, ``bucket/prefix``.
            credentials: Arguments of `s3fs.S3FileSystem`: ``key``, ``secret``, ``client_kwargs`` with ``endpoint_url``,
                ``region_name`` and ``verify``; `churn.stores.s3_client.client_of` lists the others. Empty values count as
                absent.
            patience: Limits of each request.
        """
        self._patience = patience or Patience()
        self.uri = f"s3://{path}"
        self._bucket, _, self._prefix = path.partition("/")
        self._credentials = without_empty(credentials or {})
        self._endpoint = self._credentials.get("client_kwargs", {}).get("endpoint_url", "AWS S3")

    def exists(self, name: str = "") -> bool:
        """Return whether the object exists."""
        return self._head(name) is not None

    def names(self) -> list[str]:
        """Return the names of all objects below the prefix."""
        return list(self._listed())

    def signatures(self) -> dict[str, str]:
        """Return the ETag of each object, which changes with its content."""
        found = self._listed()
        if not found and (itself := self._head("")) is not None:
            return {"": str(itself["ETag"])}
        return found

    def _listed(self) -> dict[str, str]:
        """Return the ETag of each object below the prefix, by name."""
        return {name: str(entry["ETag"]) for name, entry in self._objects()}

    def entries(self, folder: str = "") -> dict[str, Entry]:
        """Return size and time of each object below the prefix."""
        return {
            name: Entry(int(entry["Size"]), entry["LastModified"].timestamp()) for name, entry in self._objects(folder)
        }

    def _objects(self, folder: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield name and description of each object below the prefix."""
        below = f"{folder.strip('/')}/" if folder else ""
        more: dict[str, str] = {}
        while True:
            answer = self._asked(
                "list_objects_v2", "", Bucket=self._bucket, Prefix=f"{self._own_prefix}{below}", **more
            )
            for entry in answer.get("Contents", ()):
                name = entry["Key"].removeprefix(self._own_prefix)
                if name and not name.endswith("/"):
                    yield name, entry
            if not answer.get("IsTruncated"):
                return
            more = {"ContinuationToken": answer["NextContinuationToken"]}

    @property
    def _own_prefix(self) -> str:
        return f"{self._prefix}/" if self._prefix else ""

    def now(self) -> float:
        """Return the time of the store's answer to a request."""
        answer = self._asked("list_objects_v2", "", Bucket=self._bucket, Prefix=self._own_prefix, MaxKeys=1)
        try:
            return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"]).timestamp()
        except (KeyError, ValueError):
            return super().now()

    def remove(self, name: str) -> None:
        """Remove an object; in a bucket with versions, its content stays as an earlier version."""
        self._call("delete_object", name)

    def unfinished(self) -> dict[str, Entry]:
        """Return the multipart uploads without a sign of life for a day, by ``<name>?<upload id>``.

        The last sign of life is the beginning of an upload or its last part. A client cannot tell whether another one is
        still writing; a day is far above the time between two parts.
        """
        found: dict[str, Entry] = {}
        more: dict[str, str] = {}
        now = self.now()
        while True:
            answer = self._asked("list_multipart_uploads", "", Bucket=self._bucket, Prefix=self._own_prefix, **more)
            for upload in answer.get("Uploads", ()):
                name = upload["Key"].removeprefix(self._own_prefix)
                try:
                    parts = self._call("list_parts", name, UploadId=upload["UploadId"]).get("Parts", ())
                except _Absent:  # finished in the meantime
                    continue
                last = max([upload["Initiated"], *(part["LastModified"] for part in parts)]).timestamp()
                if abs(now - last) > SILENCE:
                    found[f"{name}?{upload['UploadId']}"] = Entry(sum(int(part["Size"]) for part in parts), last)
            if not answer.get("IsTruncated"):
                return found
            more = {"KeyMarker": answer["NextKeyMarker"], "UploadIdMarker": answer["NextUploadIdMarker"]}

    def remove_unfinished(self, name: str) -> None:
        """Abort one of the `unfinished` uploads."""
        key, _, upload = name.rpartition("?")
        with suppress(_Absent):
            self._call("abort_multipart_upload", key, UploadId=upload)

    def size(self, name: str = "") -> int:
        """Return the size of an object in bytes."""
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
        raw = ObjectReader(
            lambda start, end: self._piece(name, head["ETag"], start, end), int(head["ContentLength"]), PIECE
        )
        return cast("IO[bytes]", io.BufferedReader(raw, buffer_size=1 << 20))

    def _piece(self, name: str, tag: str, start: int, end: int) -> bytes:
        """Return bytes of an object, if it has not been replaced since it was opened."""
        try:
            answer = self._call("get_object", name, Range=f"bytes={start}-{end - 1}", IfMatch=tag)
        except _Overtaken:
            raise ChurnError(f"{self.address(name)} was replaced while it was read; run again") from None
        content: bytes = answer["Body"]
        if len(content) != end - start:
            raise ChurnError(f"{self.address(name)}: {len(content)} bytes received instead of {end - start}; run again")
        return content

    @contextmanager
    def writing(self, name: str = "") -> Iterator[Hashing]:
        """Send an object, in one request or as a multipart upload."""
        upload = _Upload(lambda method, **arguments: self._call(method, name, **arguments))
        hashing = Hashing(upload)
        try:
            yield hashing
            upload.finish()
        except BaseException:
            upload.give_up()
            raise

    def update_json(self, change: Callable[[Any], Any], name: str = "", *, mend: bool = False) -> Any:
        """Like `Store.update_json`, with a conditional write if the store supports it."""
        while True:
            present = self._present(name)
            old = None if present is None else self._parsed(present[0], name, mend=mend)
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
        """Like `Store.read_json`, with a single request, so that content and tag belong to the same version."""
        present = self._present(name)
        if present is None:
            raise ChurnError(f"{self.address(name)} does not exist")
        return self._parsed(present[0], name)

    def _present(self, name: str) -> tuple[bytes, str] | None:
        """Return content and ETag of an object from one response; ``None`` if it does not exist."""
        try:
            answer = self._call("get_object", name)
        except _Absent:
            return None
        return answer["Body"], answer["ETag"]

    # --- requests -----------------------------------------------------------------------------------------------

    def _at(self, name: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": "/".join(filter(None, (self._prefix, name)))}

    def _call(self, method: str, name: str, **arguments: Any) -> dict[str, Any]:
        return self._asked(method, name, **self._at(name), **arguments)

    def _asked(self, method: str, name: str, **arguments: Any) -> dict[str, Any]:
        """Make a request, with retries. A body in the response is read into bytes.

        Raises:
            ChurnError: If the request failed; the message has the endpoint and the setting to check.
            _Answer: If the store gave an answer that the caller handles.
        """

        def once(given_up: threading.Event) -> dict[str, Any]:
            client = client_of(self._credentials)
            more = additional_arguments(client, method, self._credentials)
            sent = {"Body": Body(arguments["Body"], given_up)} if "Body" in arguments else {}
            answer: dict[str, Any] = getattr(client, method)(**{**more, **arguments, **sent})
            if method == "get_object":
                with answer["Body"] as body:
                    answer["Body"] = body.read()
            return answer

        start = time.monotonic()
        try:
            return self._patience.ask(once, _may_pass)
        except ChurnError:
            raise
        except Exception as error:
            raise self._explained(error, name, time.monotonic() - start) from error

    def _explained(self, error: Exception, name: str, seconds: float) -> Exception:
        code, status = _answer_of(error)
        where = f"{self.address(name)} at {self._endpoint}"
        if code in OVERTAKEN:
            return _Overtaken(code)
        if code in UNCONDITIONAL or status == 501:
            return _Unconditional(code)
        if code in NO_BUCKET:
            return ChurnError(
                f"{where}: there is no bucket '{self._bucket}'; create it, or name another with CHURN_STAGING_BUCKET or "
                "CHURN_RESULTS_BUCKET"
            )
        if code in ABSENT:
            return _Absent(where)
        if code in DENIED or status in (401, 403):
            return ChurnError(
                f"{where}: access denied ({code}); check the key of this identity and its rights: "
                "CHURN_TRAINING_ACCESS_KEY for data and models, CHURN_SCORING_ACCESS_KEY for results, each with its "
                "..._SECRET_KEY"
            )
        if code is not None:
            return ChurnError(
                f"{where}: the store answered {status} {code} to the last of {self._patience.attempts} attempts; try later"
            )
        reason = (
            f"no answer within {self._patience.seconds:g} seconds" if isinstance(error, TimeoutError) else _said(error)
        )
        return ChurnError(
            f"{where}: {reason} (after {seconds:.0f} seconds); check that the store runs and that CHURN_S3_ENDPOINT is right"
        )


class _Upload:
    """An object that is sent in pieces while it is written."""

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
        with memoryview(self._held) as held:
            part = bytes(held[:length])
        sent = self._call("upload_part", PartNumber=number, Body=part, **self._upload)
        del self._held[:length]
        self._parts.append({"PartNumber": number, "ETag": sent["ETag"]})

    def finish(self) -> None:
        """Send the rest and complete the object."""
        if not self._upload:
            self._call("put_object", Body=bytes(self._held))
            return
        self._send(len(self._held))
        self._call("complete_multipart_upload", MultipartUpload={"Parts": self._parts}, **self._upload)

    def give_up(self) -> None:
        """Abort the upload. If that fails too, the store's own clean-up removes the parts."""
        if self._upload:
            with suppress(ChurnError, _Answer):
                self._call("abort_multipart_upload", **self._upload)


class _Answer(Exception):  # noqa: N818
    """An answer of the store that the caller handles."""


class _Absent(_Answer):
    """The object does not exist."""


class _Overtaken(_Answer):
    """Another process has replaced the object."""


class _Unconditional(_Answer):
    """The store does not support conditional writes."""


def _answer_of(error: BaseException) -> tuple[str | None, int | None]:
    """Return error code and status of the store's answer; ``None`` if there was none."""
    answer = getattr(error, "response", None)
    if not isinstance(answer, dict):
        return None, None
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return str(answer.get("Error", {}).get("Code", status)), status


def _may_pass(error: Exception) -> bool:
    """Return whether a retry may succeed."""
    from botocore.exceptions import ConnectionError as NoConnection
    from botocore.exceptions import HTTPClientError, IncompleteReadError
    from urllib3.exceptions import HTTPError

    code, status = _answer_of(error)
    if code is not None:
        return code in BUSY or (status is not None and status >= 500 and status != 501)
    # botocore passes on errors of urllib3 if the body of a response other than an object is incomplete.
    return isinstance(error, NoConnection | HTTPClientError | IncompleteReadError | HTTPError | OSError)


def _said(error: Exception) -> str:
    """Return the first line of a connection error."""
    text = str(error) or type(error).__name__
    return text.splitlines()[0].rstrip(".")
