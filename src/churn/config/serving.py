"""Parameters of the scoring service."""

from typing import Self

from pydantic import Field, model_validator

from churn.config.blocks import Block, Share


class ServeLog(Block):
    """The log of requests and scores, from which monitoring judges what was answered."""

    sample: Share = Field(
        default=1.0, description="Share of the requests that are logged, with all of their rows; 0 for none."
    )
    redact: tuple[str, ...] = Field(
        default=(), description="Columns whose values are left out of the log (missing in all rows); the id may be one."
    )
    seconds: float = Field(
        default=1.0,
        gt=0,
        le=60,
        description="Seconds after which logged rows are in a file: at most these are lost by a kill.",
    )
    queue: int = Field(
        default=20_000, ge=1, description="Rows that may wait to be written; further ones are dropped and counted."
    )


class Serve(Block):
    """The scoring service `churn serve`."""

    host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="Address of the service: IPv4, IPv6 (`::1`; `::` for all) or a name. Beyond this machine, a token is "
        "required.",
    )
    port: int = Field(default=8788, ge=1, le=65_535, description="Port of the service.")
    workers: int = Field(default=1, ge=1, le=256, description="Processes that answer; one for each core is enough.")
    poll: float = Field(
        default=2.0, gt=0, description="Seconds between two looks at the champion and at the published scores."
    )
    rows: int = Field(default=1000, ge=1, le=100_000, description="Maximum number of rows of a request.")
    bytes: int = Field(default=1 << 20, ge=1024, description="Maximum size of the body of a request, in bytes.")
    seconds: float = Field(
        default=10.0, gt=0, description="Seconds within which a request must have arrived and been answered."
    )
    concurrency: int = Field(
        default=64, ge=1, description="Requests that a worker handles at once; further ones get 503 and may come again."
    )
    connections: int = Field(default=512, ge=4, description="Open connections of a worker.")
    keep_alive: float = Field(default=30.0, gt=0, description="Seconds that an idle connection stays open.")
    drain: float = Field(
        default=1.0,
        ge=0,
        le=60,
        description="Seconds between SIGTERM and the end of listening, in which `/readyz` answers 503 and requests are still "
        "answered, so that what is in front can turn elsewhere.",
    )
    rate: float = Field(
        default=2000.0, gt=0, description="Requests a second that a worker takes of one token in the long run."
    )
    burst: float = Field(default=4000.0, ge=1, description="Requests of one token that a worker takes at once.")
    certificate: str | None = Field(
        default=None, description="PEM file with the certificate, for TLS without a proxy in front; empty: none."
    )
    key: str | None = Field(default=None, description="PEM file with the private key of the certificate.")
    log: ServeLog = Field(default=ServeLog(), description="The log of requests and scores.")

    @model_validator(mode="after")
    def _certificate_has_a_key(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together: set both, or neither")
        return self
