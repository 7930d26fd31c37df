"""Files in folders, buckets and other file systems. A write is atomic: complete or without effect."""

from typing import Any

from kedro.io.core import get_protocol_and_path

from churn.stores.base import DamagedError, Entry, Store, Stored

__all__ = ["DamagedError", "Entry", "Store", "Stored", "open_store"]


def open_store(path: str, credentials: dict[str, Any] | None = None) -> Store:
    """Return the store for a path or URL of a folder or a single file.

    Args:
        path: A local path, ``s3://bucket/prefix``, or a URL of any other file system that fsspec knows.
        credentials: Arguments of the file system, as in ``credentials.yml``; for S3 see `churn.stores.s3.S3Store`.
    """
    protocol, place = get_protocol_and_path(path)
    if protocol == "file":
        from churn.stores.local import LocalStore

        return LocalStore(place)
    if protocol in ("s3", "s3a"):
        from churn.stores.s3 import S3Store

        return S3Store(place, credentials)
    from churn.stores.other import OtherStore

    return OtherStore(protocol, place, credentials)
