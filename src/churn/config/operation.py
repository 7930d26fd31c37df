"""Parameters of scoring, monitoring, notifications and the trigger."""

from datetime import date
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BeforeValidator, Field, model_validator

from churn.config.blocks import Block, Device, OpenShare, Share


def _as_version(given: Any) -> Any:
    """Return a version as text: on the command line, it is a number."""
    return str(given) if isinstance(given, int) and not isinstance(given, bool) else given


class Inference(Block):
    """Scoring and publishing."""

    as_of: date | None = Field(
        default=None, description="Date of the scoring snapshot (YYYY-MM-DD); empty for the day of the run."
    )
    device: Device = Field(default="cpu", description="Device on which XGBoost scores: `cpu`, `cuda` or `cuda:<n>`.")
    incremental: bool = Field(
        default=False,
        description="Score only files of the table whose content no earlier run has scored; for tables of several files.",
    )
    rescore: bool = Field(
        default=False,
        description="With `incremental`: also score files that another model has scored, for example after a promotion.",
    )


class Monitoring(Block):
    """What the health report judges, and its limits for warnings and alarms."""

    source: Literal["results", "requests"] = Field(
        default="results",
        description="What is judged: `results`, which were published last, or `requests`, a day of the log of `churn serve`.",
    )
    requests_day: date | None = Field(
        default=None,
        description="With `requests`: the day (YYYY-MM-DD, UTC); empty for the newest day of the log that is over.",
    )
    requests_version: Annotated[str, BeforeValidator(_as_version)] | None = Field(
        default=None,
        description="With `requests`: version of the model to judge, if several have answered; empty for the one with the most "
        "answers.",
    )
    psi_watch: float = Field(
        default=0.04, gt=0, description="Population stability index from which a column gets a warning."
    )
    psi_alarm: float = Field(
        default=0.25, gt=0, description="Population stability index from which a column gets an alarm."
    )
    missing_rise: Share = Field(
        default=0.05, description="Rise of the share of missing values from which a column gets an alarm."
    )
    unseen_share: Share = Field(
        default=0.01, description="Share of accounts with an unseen category from which a column gets an alarm."
    )
    roc_auc_drop: Share = Field(
        default=0.05,
        description="Fall of the realised ROC AUC below the value at training from which the report has an alarm; from half "
        "of it on, it has a warning.",
    )
    calibration_error: Share = Field(
        default=0.05, description="Realised calibration error from which the report has an alarm, as a probability."
    )

    false_alarm_rate: OpenShare = Field(
        default=0.05,
        description="Largest probability of a warning or an alarm for a table that has not changed, all figures together. A "
        "figure beyond its limit counts only if chance explains it less often than its part of this rate.",
    )

    @model_validator(mode="after")
    def _watch_comes_before_alarm(self) -> Self:
        if self.psi_watch > self.psi_alarm:
            raise ValueError(f"psi_watch {self.psi_watch} is above psi_alarm {self.psi_alarm}")
        return self


EventKind = Literal[
    "trained",
    "promoted",
    "not_promoted",
    "scored",
    "health_alarm",
    "failed",
    "scores_late",
    "delivery_failed",
    "champion_refused",
]


class Notifications(Block):
    """Events and retries of notifications. The channels are in `credentials.yml`."""

    events: tuple[EventKind, ...] = Field(
        default=get_args(EventKind), description="Events that send a notification; an empty list for none."
    )
    cool_down: float = Field(
        default=60.0, ge=0, description="Minutes before the same message is sent again; 0 sends each message."
    )
    attempts: int = Field(default=4, ge=1, le=10, description="Maximum number of attempts to send a message.")
    wait: float = Field(
        default=0.5, ge=0, description="Seconds before the second attempt; doubled for each further one."
    )
    timeout: float = Field(
        default=5.0, gt=0, description="Seconds to wait for a connection, and for each part of an answer."
    )


class Watch(Block):
    """The trigger `churn watch`."""

    poll: float = Field(default=60.0, gt=0, description="Seconds between two looks at the tables.")
    quiet: float = Field(default=10.0, ge=0, description="Seconds without a change of a table before a run starts.")
    attempts: int = Field(
        default=3, ge=1, description="Maximum number of attempts of a run; then it is given up until something changes."
    )
    backoff: float = Field(
        default=60.0, ge=0, description="Seconds before the second attempt; doubled for each further one."
    )
    scores_within: float | None = Field(
        default=None,
        gt=0,
        description="Hours within which new scores are expected; after that, the event `scores_late` is sent. Empty: never.",
    )
    host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="Address for events, health checks and metrics: IPv4, IPv6 (`::1`; `::` for all) or a name.",
    )
    port: int = Field(default=8787, ge=1, le=65_535, description="Port for events, health checks and metrics.")


class Prune(Block):
    """How much `churn prune` keeps."""

    keep: int = Field(
        default=10,
        ge=1,
        description="Number of the newest published results, versions, runs and copies of models to keep.",
    )
    older_than: float = Field(
        default=90.0,
        ge=0,
        description="Days that something must be old to be removed, when it is beyond the number in `keep` too.",
    )
    requests_older_than: float | None = Field(
        default=90.0,
        ge=0,
        description="Days after which a day of the log of requests is removed, whatever `keep` is; empty: never.",
    )
