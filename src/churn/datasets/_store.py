"""Files on any file system that fsspec knows: local paths, ``s3://`` and others."""

import hashlib
import json
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import fsspec
from kedro.io.core import get_protocol_and_path

from churn.errors import ChurnError

if TYPE_CHECKING:
    import pyarrow as pa

CHUNK = 1 << 20


class Store:
    """A folder or file on a file system, with whole-or-nothing writes."""

    def __init__(self, path: str, credentials: dict[str, Any] | None = None) -> None:
        protocol, self.path = get_protocol_and_path(path)
        self.is_local = protocol == "file"
        self.uri = self.path if self.is_local else f"{protocol}://{self.path}"
        self.fs = fsspec.filesystem(protocol, **(credentials or {}))

    def at(self, name: str) -> str:
        """Path of a file below this folder."""
        return f"{self.path}/{name}" if name else self.path

    def exists(self, name: str = "") -> bool:
        """Whether there is such a file, asked anew."""
        self.fs.invalidate_cache()
        return bool(self.fs.exists(self.at(name)))

    @contextmanager
    def reading(self, name: str = "") -> Iterator[IO[bytes]]:
        """Open a file for reading.

        Raises:
            ChurnError: If it does not exist or may not be read.
        """
        try:
            file = self.fs.open(self.at(name), "rb", compression="infer")
        except FileNotFoundError as error:
            raise ChurnError(f"{self.uri}{'/' + name if name else ''} does not exist") from error
        except PermissionError as error:
            raise ChurnError(f"{self.uri}{'/' + name if name else ''} may not be read: {error}") from error
        with file:
            yield file

    def write(self, write: Callable[[IO[bytes]], object], name: str = "") -> None:
        """Write a file so that readers see the old content or the new, never a part."""
        if self.is_local:
            _replace_file(Path(self.at(name)), write)
        else:
            with self.fs.transaction, self.fs.open(self.at(name), "wb") as file:
                write(file)
        self.fs.invalidate_cache()

    def write_json(self, content: Any, name: str = "") -> None:
        """Write a JSON document, indented for people."""
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        self.write(lambda file: file.write(text.encode()), name)

    def read_json(self, name: str = "") -> Any:
        """Read a JSON document.

        Raises:
            ChurnError: If it does not exist or is not JSON.
        """
        with self.reading(name) as file:
            content = file.read()
        try:
            return json.loads(content)
        except ValueError as error:
            raise ChurnError(f"{self.uri}/{name} is not valid JSON: {error}") from error

    def sha256(self, name: str = "") -> str:
        """Hash of a file's content, read in chunks."""
        digest = hashlib.sha256()
        with self.reading(name) as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
        return digest.hexdigest()

    def size(self, name: str = "") -> int:
        """Size of a file in bytes."""
        return int(self.fs.size(self.at(name)))


def write_csv(table: "pa.Table", file: IO[bytes]) -> None:
    """Write a table as CSV; cells are quoted only if some cell needs it, for programs that separate by semicolons too."""
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import csv

    def needs_quotes(column: "pa.ChunkedArray") -> bool:
        if pa.types.is_dictionary(column.type):
            return any(needs_quotes(pa.chunked_array([chunk.dictionary])) for chunk in column.chunks)
        if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            return False
        return bool(pc.any(pc.match_substring_regex(column, '[",;\t\r\n]')).as_py())

    names = pa.chunked_array([table.column_names])
    style = "needed" if any(map(needs_quotes, [names, *table.columns])) else "none"
    csv.write_csv(table, file, csv.WriteOptions(quoting_style=style, quoting_header=style, batch_size=8_192))


def _replace_file(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write beside the file and rename: fsspec's own transaction writes to /tmp, which may be another file system."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with aside.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
