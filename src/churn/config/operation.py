"""Parameters of scoring, monitoring, notifications and the watch."""

from datetime import date
from typing import Literal, Self, get_args

from pydantic import Field, model_validator

from churn.config.blocks import Block, Device, Share


class Inference(Block):
    """Scoring and publishing."""

    as_of: date | None = Field(
        default=None, description="Date of the scoring snapshot (YYYY-MM-DD); empty for the day of the run."
    )
    device: Device = Field(default="cpu", description="Where XGBoost scores: `cpu`, `cuda` or `cuda:<n>`.")
    incremental: bool = Field(
        default=False,
        description="Score only the files of the table whose content no earlier run scored; for tables of several files.",
    )
    rescore: bool = Field(
        default=False,
        description="With `incremental`: score also the files that another model scored, as after a promotion.",
    )


class Monitoring(Block):
    """From when on the health report raises its voice."""

    psi_watch: float = Field(
        default=0.1, gt=0, description="Population stability index from which a column is to be watched."
    )
    psi_alarm: float = Field(
        default=0.25, gt=0, description="Population stability index from which a column is an alarm."
    )
    missing_rise: Share = Field(
        default=0.05, description="Rise of a column's share of missing values from which it is an alarm."
    )
    unseen_share: Share = Field(
        default=0.01, description="Share of categories unseen in training from which a column is an alarm."
    )
    roc_auc_drop: Share = Field(
        default=0.05, description="Fall of realised ROC AUC below the one at training from which it is an alarm."
    )
    calibration_error: Share = Field(
        default=0.05, description="Realised calibration error from which it is an alarm, as a probability."
    )

    @model_validator(mode="after")
    def _watch_comes_before_alarm(self) -> Self:
        if self.psi_watch > self.psi_alarm:
            raise ValueError(f"psi_watch {self.psi_watch} is above psi_alarm {self.psi_alarm}")
        return self


EventKind = Literal["trained", "promoted", "not_promoted", "scored", "health_alarm", "failed"]


class Notifications(Block):
    """Who is told of what happens. Where to is in `credentials.yml`."""

    events: tuple[EventKind, ...] = Field(
        default=get_args(EventKind), description="Events that are told of; none for silence."
    )
    cool_down: float = Field(
        default=60.0, ge=0, description="Minutes in which the same message is not sent again; 0 sends each."
    )
    attempts: int = Field(default=4, ge=1, le=10, description="How often a message is sent to where it is not taken.")
    wait: float = Field(
        default=0.5, ge=0, description="Seconds before the second attempt; twice as long before each further one."
    )
    timeout: float = Field(default=5.0, gt=0, description="Seconds in which an answer has to come.")


class Watch(Block):
    """When `churn watch` trains and scores."""

    poll: float = Field(default=60.0, gt=0, description="Seconds from look to look at the tables.")
    quiet: float = Field(
        default=10.0, ge=0, description="Seconds in which nothing of a table may have changed before it is taken."
    )
    attempts: int = Field(
        default=3, ge=1, description="How often a run is tried before it is given up until something changes."
    )
    backoff: float = Field(
        default=60.0, ge=0, description="Seconds before the second attempt; twice as long before each further one."
    )
    host: str = Field(default="127.0.0.1", min_length=1, description="Address at which events and health are answered.")
    port: int = Field(default=8787, ge=1, le=65_535, description="Its port.")
