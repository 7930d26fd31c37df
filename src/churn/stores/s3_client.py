"""The client of an S3 store, from the arguments of s3fs in a catalog."""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from churn.errors import ChurnError

CONNECT_TIMEOUT, READ_TIMEOUT = 5, 15
# Connections that are kept open for concurrent threads.
CONNECTIONS = 32

# Arguments of s3fs, with their names in botocore.
RENAMED = {
    "key": "aws_access_key_id",
    "username": "aws_access_key_id",
    "secret": "aws_secret_access_key",
    "password": "aws_secret_access_key",
    "token": "aws_session_token",
    "endpoint_url": "endpoint_url",
    "use_ssl": "use_ssl",
}
OTHERS = ("profile", "anon", "requester_pays", "client_kwargs", "config_kwargs", "s3_additional_kwargs")


def client_of(credentials: Mapping[str, Any]) -> Any:
    """Return the botocore client for these arguments. Equal arguments share a client and its connections.

    The client is thread-safe and makes each request once; the caller retries.

    Args:
        credentials: Arguments of `s3fs.S3FileSystem`: ``key``, ``secret``, ``token``, ``profile``, ``anon``,
            ``endpoint_url``, ``use_ssl``, ``client_kwargs`` and ``config_kwargs``.

    Raises:
        ChurnError: If an argument is unknown.
    """
    unknown = set(credentials) - {*RENAMED, *OTHERS}
    if unknown:
        raise ChurnError(
            f"credentials of an S3 store: unknown argument {', '.join(sorted(unknown))}; known are "
            f"{', '.join([*RENAMED, *OTHERS])}"
        )
    return _made(json.dumps(credentials, sort_keys=True, default=str))


@lru_cache(maxsize=32)
def _made(arguments: str) -> Any:
    from botocore import UNSIGNED
    from botocore.config import Config
    from botocore.session import Session

    credentials = json.loads(arguments)
    signing = {"signature_version": UNSIGNED} if credentials.get("anon") else {}
    config = {
        "connect_timeout": CONNECT_TIMEOUT,
        "read_timeout": READ_TIMEOUT,
        "max_pool_connections": CONNECTIONS,
        "retries": {"total_max_attempts": 1},
        **signing,
        **credentials.get("config_kwargs", {}),
    }
    given = {RENAMED[name]: value for name, value in credentials.items() if name in RENAMED}
    return Session(profile=credentials.get("profile")).create_client(
        "s3", config=Config(**config), **{**given, **credentials.get("client_kwargs", {})}
    )


def additional_arguments(client: Any, method: str, credentials: Mapping[str, Any]) -> dict[str, Any]:
    """Return the additional arguments of the credentials that this operation accepts."""
    given = dict(credentials.get("s3_additional_kwargs", {}))
    if credentials.get("requester_pays"):
        given["RequestPayer"] = "requester"
    if not given:
        return {}
    operation = client.meta.service_model.operation_model(client.meta.method_to_api_mapping[method])
    return {name: value for name, value in given.items() if name in operation.input_shape.members}


def without_empty(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments without those that are empty, at any depth."""
    kept: dict[str, Any] = {}
    for key, value in values.items():
        given = without_empty(value) if isinstance(value, Mapping) else value
        if given not in (None, "", {}):
            kept[key] = given
    return kept
