"""The client of an S3 store, from the arguments that a catalog gives to s3fs."""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from churn.errors import ChurnError

CONNECT_TIMEOUT, READ_TIMEOUT = 5, 15
# Threads that may ask at the same time without opening connections for one request only.
CONNECTIONS = 32

# Arguments of s3fs by the names that botocore has for them.
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
    """A client of botocore, whose methods are the operations of S3; one for equal arguments, with its connections.

    It may be used by several threads, and makes each request once: repeating is the caller's business.

    Args:
        credentials: Arguments of `s3fs.S3FileSystem`: ``key``, ``secret``, ``token``, ``profile``, ``anon``,
            ``endpoint_url``, ``use_ssl``, ``client_kwargs`` and ``config_kwargs``.

    Raises:
        ChurnError: If another argument is given.
    """
    unknown = set(credentials) - {*RENAMED, *OTHERS}
    if unknown:
        raise ChurnError(
            f"credentials of an S3 store: {', '.join(sorted(unknown))} is not known; known are "
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
    """Arguments that the credentials have for every request, as far as this operation takes them."""
    given = dict(credentials.get("s3_additional_kwargs", {}))
    if credentials.get("requester_pays"):
        given["RequestPayer"] = "requester"
    if not given:
        return {}
    operation = client.meta.service_model.operation_model(client.meta.method_to_api_mapping[method])
    return {name: value for name, value in given.items() if name in operation.input_shape.members}
