"""Compressed files, recognised by their first bytes and not by their names."""

import gzip
import io
import zipfile
import zlib
from typing import IO, Any, Literal, cast

from churn.errors import ChurnError

Compression = Literal["gzip", "zip", "zstd"]

_MAGIC: dict[bytes, Compression] = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",
    b"\x28\xb5\x2f\xfd": "zstd",
}
_MAGIC_BYTES = 4
# Size of the pieces in which a compressed file is read.
_PIECE = 1 << 20


def compression_of(file: IO[bytes]) -> Compression | None:
    """Return the compression of a seekable file that is at its beginning, where it is left."""
    begin = file.read(_MAGIC_BYTES)
    file.seek(0)
    return next((kind for magic, kind in _MAGIC.items() if begin.startswith(magic)), None)


def unpacked(file: IO[bytes], address: str) -> IO[bytes]:
    """Return a file decompressed if it is compressed, and itself otherwise.

    Args:
        file: A seekable file.
        address: Path or URL for messages.

    Raises:
        ChurnError: If it is a ZIP archive of several files, or encrypted. Reading the file raises it if the compressed
            content is damaged or ends early.
    """
    kind = compression_of(file)
    if kind is None:
        return file
    if kind == "gzip":
        content: Any = gzip.GzipFile(fileobj=file)
    elif kind == "zip":
        content = _member(file, address)
    else:
        import pyarrow as pa

        content = pa.input_stream(file, compression="zstd")
    return cast("IO[bytes]", io.BufferedReader(_Explained(content, address), _PIECE))


def _member(file: IO[bytes], address: str) -> IO[bytes]:
    try:
        archive = zipfile.ZipFile(file)
        # Programs for macOS add files of their own.
        members = [item for item in archive.infolist() if not (item.is_dir() or item.filename.startswith("__MACOSX/"))]
        if any(item.filename == "[Content_Types].xml" for item in members):
            raise ChurnError(f"{address} is a workbook of Excel; save the sheet as CSV")
        if len(members) != 1:
            shown = ", ".join(item.filename for item in members[:3])
            raise ChurnError(
                f"{address} is a ZIP archive of {len(members)} files ({shown or 'none'}{', ...' if len(members) > 3 else ''}), "
                "which is read only if it has exactly one; unpack it into a folder, and give the folder as the table"
            )
        return archive.open(members[0])
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise ChurnError(_damaged(address, error)) from error
    except RuntimeError as error:
        raise ChurnError(f"{address} is an encrypted ZIP archive; unpack it") from error


def _damaged(address: str, error: Exception) -> str:
    return (
        f"{address} is compressed, and damaged or incomplete ({error}); if it is still being written or uploaded, wait until it "
        "is complete, else copy it again"
    )


class _Explained(io.RawIOBase):
    """Decompressed content; errors in it are told in one sentence."""

    def __init__(self, content: Any, address: str) -> None:
        self._content, self._address = content, address

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            content = self._content.read(len(buffer))
        except ChurnError:
            raise
        except (EOFError, OSError, zlib.error, zipfile.BadZipFile) as error:
            raise ChurnError(_damaged(self._address, error)) from error
        buffer[: len(content)] = content
        return len(content)
