"""Parameters of the delivery of published results to other systems."""

from collections import Counter
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from churn.config.blocks import Block, Share

ColumnType = Literal["text", "integer", "real", "boolean", "date", "timestamp"]
First = Literal["dry_run", "send"]


class DeliveryColumn(Block):
    """A column that a target gets."""

    source: str = Field(
        min_length=1,
        description="Column of the published scores or of the retention list; or `run_id`, `as_of`, `published_at`, "
        "`delivered_at` of the run; or `removed`, true for an account that is no longer delivered.",
    )
    name: str | None = Field(
        default=None, min_length=1, description="Name at the target; empty for that of the source."
    )
    type: ColumnType | None = Field(default=None, description="Type at the target; empty for that of the source.")
    decimals: int | None = Field(
        default=None, ge=0, le=15, description="Decimals that a number is rounded to; empty: none."
    )
    matters: bool | None = Field(
        default=None,
        description="Whether a change of this column alone is sent. Empty: yes, except for the model version and the columns of "
        "the run, and with a `tolerance` for the expected profit, which follows the probability.",
    )

    @property
    def target_name(self) -> str:
        """Name at the target."""
        return self.name or self.source


class DeliveryTarget(Block):
    """What all targets have in common."""

    name: str = Field(
        pattern=r"^[a-z][a-z0-9_]{0,39}$",
        description="Name of the target in messages, in the ledger and in `credentials.yml`.",
    )
    accounts: Literal["all", "listed", "to_act_on"] = Field(
        default="all",
        description="Accounts that the target gets: `all` that were scored, those `listed` in the retention list, or those of "
        "the list `to_act_on`. Of an account that is no longer among them, the target is told.",
    )
    columns: tuple[DeliveryColumn, ...] = Field(
        default=(), description="Columns that the target gets; empty for all that are published, under their own names."
    )
    tolerance: Share = Field(
        default=0.0,
        description="Difference from the probability that the target holds from which a new one is sent; 0 for any.",
    )
    first: First | None = Field(
        default=None, description="What a first delivery to this target does; empty for `delivery.first`."
    )
    rejects: int = Field(
        default=1000, ge=0, description="Rows that the target may reject before the delivery to it is given up."
    )

    @model_validator(mode="after")
    def _names_are_different(self) -> Self:
        counts = Counter(column.target_name for column in self.columns)
        if twice := [name for name, count in counts.items() if count > 1]:
            raise ValueError(f"columns: {', '.join(twice)} is the name of several columns")
        return self


class SqlTarget(DeliveryTarget):
    """A table of a database, through SQLAlchemy. The credentials have its address in ``url``."""

    kind: Literal["sql"] = Field(description="Selects this kind of target.")
    table: str = Field(min_length=1, description="Name of the table.")
    namespace: str | None = Field(
        default=None, min_length=1, description="Schema of the database that has the table; empty for the default one."
    )
    create: bool = Field(default=True, description="Whether the table is created if there is none.")
    on_removed: Literal["flag", "delete"] = Field(
        default="flag",
        description="What happens to the row of an account that is no longer delivered: the column with the source `removed` "
        "becomes true, or the row is deleted.",
    )
    batch: int = Field(default=50_000, ge=1, description="Rows of a transaction.")


class FilesTarget(DeliveryTarget):
    """Files in a folder or a bucket: for each delivery the changes, and all accounts."""

    kind: Literal["files"] = Field(description="Selects this kind of target.")
    path: str = Field(min_length=1, description="Path or URL of a folder of its own, for example `s3://crm/churn`.")
    format: Literal["csv", "parquet", "jsonl"] = Field(default="csv", description="Format of the files.")
    keep: int = Field(default=10, ge=1, description="Deliveries that are kept, the newest.")


class HttpTarget(DeliveryTarget):
    """What all targets over HTTP have in common."""

    attempts: int = Field(
        default=5,
        ge=1,
        le=20,
        description="Maximum number of attempts to send a batch if the target is busy or silent.",
    )
    wait: float = Field(
        default=1.0,
        ge=0,
        description="Seconds before the second attempt, doubled for each further one; what the target asks for goes first.",
    )
    longest_wait: float = Field(
        default=300.0,
        gt=0,
        description="Longest wait in seconds that the target may ask for; beyond it the delivery ends, and the next run goes on.",
    )
    timeout: float = Field(default=30.0, gt=0, description="Seconds within which a request has to be answered.")
    ca: str | None = Field(
        default=None, description="PEM file with the certificates to trust; empty for those of the system."
    )


class WebhookTarget(HttpTarget):
    """A signed POST of JSON in batches. The credentials have its address in ``webhook`` and the key in ``secret``."""

    kind: Literal["webhook"] = Field(description="Selects this kind of target.")
    batch: int = Field(default=500, ge=1, le=10_000, description="Accounts of a request.")


class SalesforceTarget(HttpTarget):
    """Records of Salesforce, by its sObject collections. The credentials have the address in ``url`` and a ``token``."""

    kind: Literal["salesforce"] = Field(description="Selects this kind of target.")
    object: str = Field(default="Account", pattern=r"^\w+$", description="Name of the sObject.")
    external_id: str = Field(
        pattern=r"^\w+$", description="Field of the object that holds the id; marked as external id."
    )
    version: str = Field(default="62.0", pattern=r"^\d+\.\d$", description="Version of Salesforce's REST API.")
    batch: int = Field(default=200, ge=1, le=200, description="Records of a request.")


class HubspotTarget(HttpTarget):
    """Records of HubSpot, by its batch upsert. The credentials have a ``token``."""

    kind: Literal["hubspot"] = Field(description="Selects this kind of target.")
    object: str = Field(default="companies", pattern=r"^[\w-]+$", description="Type of the records.")
    id_property: str = Field(pattern=r"^\w+$", description="Property with unique values that holds the id.")
    batch: int = Field(default=100, ge=1, le=100, description="Records of a request.")


Target = SqlTarget | FilesTarget | WebhookTarget | SalesforceTarget | HubspotTarget


class Delivery(Block):
    """The delivery of the published results to other systems. Addresses and keys are in `credentials.yml`."""

    targets: tuple[Annotated[Target, Field(discriminator="kind")], ...] = Field(
        default=(), description="Where the results go, one block for each target; empty for nowhere."
    )
    dry_run: bool = Field(
        default=False, description="Whether nothing is sent and the numbers of what would be sent are shown."
    )
    first: First = Field(
        default="dry_run",
        description="What a first delivery to a target does: `dry_run` shows what would be sent, `send` sends it.",
    )

    most_removed: Share = Field(
        default=0.9,
        description="Largest share of the accounts that a target holds of which it may be told in one delivery that they are no "
        "longer delivered; a larger one is an error, as results may be those of the wrong table.",
    )

    @model_validator(mode="after")
    def _names_are_different(self) -> Self:
        counts = Counter(target.name for target in self.targets)
        if twice := [name for name, count in counts.items() if count > 1]:
            raise ValueError(f"targets: {', '.join(twice)} is the name of several targets")
        return self
