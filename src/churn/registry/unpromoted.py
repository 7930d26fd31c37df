"""Why there is no champion: the version that was trained last was not promoted, and its tags say which gates refused it.

This module imports no MLflow, so that `churn status` can use it within a second.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple, Self
from urllib.parse import unquote

from churn.config.console import shown_path

CHAMPION = "champion"
# Tag of a model: its last version.
LAST_TAG = "last_trained"
CARD = "model_card.html"
# Parameters with which a gate lets a model pass that it has refused; the other gates compare with a champion.
LIMITS = {
    "calibration": "promotion.calibration_limit",
    "leakage": "training.leakage.allowed",
    "latency": "promotion.latency_limit",
}
AGAIN = "train again with kedro run --pipelines feature_engineering,training"
FORCE = "kedro run --pipelines training --params promotion.force=true makes it the champion all the same"


class Unpromoted(NamedTuple):
    """The version that was trained last, if it was not promoted and there is no champion.

    Attributes:
        version: Number of the version.
        reason: Reason of the decision, as one sentence without a full stop.
        gates: The gates that refused it, each with its result as a sentence.
        model_card: Where its model card is, as words; ``None`` if there is none.
    """

    version: str
    reason: str
    gates: dict[str, str]
    model_card: str | None = None

    @classmethod
    def of(cls, version: str, tags: Mapping[str, str], model_card: str | None = None) -> Self | None:
        """Return what the tags of a version say; ``None`` if they do not say that it was not promoted."""
        if tags.get("promotion") != "not promoted":
            return None
        gates = {
            name.removeprefix("gate."): said.removeprefix("failed: ")
            for name, said in sorted(tags.items())
            if name.startswith("gate.") and said.startswith("failed: ")
        }
        return cls(version, tags.get("promotion_reason", ""), gates, model_card)

    @property
    def sentence(self) -> str:
        """That it was not promoted, and which gates refused it; names of columns and values of the table are not in it."""
        by = ""
        if self.gates:
            by = f": the gate{'s' if len(self.gates) > 1 else ''} {' and '.join(self.gates)} refused it"
        return f"version {self.version}, trained last, was not promoted{by}"

    @property
    def details(self) -> list[str]:
        """What the gates have found, with the figures, and the ways out; one sentence each without a full stop."""
        found = [f"{name}: {said}" for name, said in self.gates.items()] or [self.reason]
        return [*found, ways_out(self.gates), *([f"the model card is {self.model_card}"] if self.model_card else [])]

    def __str__(self) -> str:
        return self.sentence + "".join(f"\n  - {each}" for each in self.details)


def ways_out(gates: Iterable[str]) -> str:
    """Return what can be done if these gates have refused a model, as a sentence without a full stop."""
    limits = [LIMITS[gate] for gate in gates if gate in LIMITS]
    change = f"correct that, or change {' and '.join(limits)}, and {AGAIN}" if limits else AGAIN
    return f"{change}; or {FORCE}"


def card_of(artifacts: str | None, run_id: str) -> str | None:
    """Return where the model card of a training is, as words; ``None`` if the training ended before it had one.

    Args:
        artifacts: Address of the artifacts of its run.
        run_id: Id of its run.
    """
    if not artifacts:
        return None
    path = unquote(artifacts.removeprefix("file://")) if artifacts.startswith("file://") else artifacts
    if "://" in path or not path.startswith("/"):
        return f"{CARD} of the run {run_id} in MLflow"
    file = Path(path) / CARD
    return shown_path(file.as_posix()) if file.is_file() else None
