"""Compressed files are known by their content."""

import gzip
import io
import zipfile
from pathlib import Path

import pyarrow as pa
import pytest

from churn.errors import ChurnError
from churn.stores import open_store

CONTENT = b"a,b\n" + b"".join(b"%d,%d\n" % (number, number * 7919) for number in range(5000))


def zipped(**members: bytes) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return sink.getvalue()


PACKED = {
    "gzip": gzip.compress(CONTENT),
    "zip": zipped(a=CONTENT),
    "zstd": pa.compress(CONTENT, "zstd", asbytes=True),
}


@pytest.mark.parametrize("kind", PACKED)
def test_whatever_its_name(tmp_path: Path, kind: str) -> None:
    for name in ("t.csv", "t.csv.gz"):
        (tmp_path / name).write_bytes(PACKED[kind])
        store = open_store(str(tmp_path / name))
        assert store.compression() == kind
        with store.reading() as file:
            assert file.read(3) + file.read() == CONTENT


def test_what_is_not_compressed(tmp_path: Path) -> None:
    for content in (CONTENT, b"", b"P"):
        (tmp_path / "t.csv.gz").write_bytes(content)
        store = open_store(str(tmp_path / "t.csv.gz"))
        assert store.compression() is None
        with store.reading() as file:
            assert file.read() == content


@pytest.mark.parametrize("kind", PACKED)
@pytest.mark.parametrize("share", [0.5, 0.99])
def test_an_upload_that_still_runs(tmp_path: Path, kind: str, share: float) -> None:
    content = PACKED[kind]
    (tmp_path / "t.csv").write_bytes(content[: int(len(content) * share)])
    damaged = pytest.raises(ChurnError, match=r"t\.csv is compressed, and damaged or incomplete")
    with damaged, open_store(str(tmp_path / "t.csv")).reading() as file:
        file.read()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (zipped(a=b"1", b=b"2"), r"ZIP archive of 2 files \(a, b\)"),
        (zipped(), r"ZIP archive of 0 files"),
        (zipped(**{"[Content_Types].xml": b"", "xl/workbook.xml": b""}), "workbook of Excel; save the sheet as CSV"),
    ],
)
def test_archives_of_other_things(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(ChurnError, match=message), open_store(str(tmp_path / "t.csv")).reading():
        pass


def test_files_that_macos_adds_are_not_members(tmp_path: Path) -> None:
    (tmp_path / "t.zip").write_bytes(zipped(**{"a.csv": CONTENT, "__MACOSX/._a.csv": b"x"}))
    with open_store(str(tmp_path / "t.zip")).reading() as file:
        assert file.read() == CONTENT
