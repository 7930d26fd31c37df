"""The decision whether a challenger becomes the champion: as it is made, carried out, stored, tagged and shown."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple, Self


class Gate(NamedTuple):
    """One condition of a promotion.

    Attributes:
        name: ``performance``, ``calibration``, ``leakage``, ``latency`` or ``segments``.
        passed: Whether it is met.
        figure: What was measured, in the unit of the limit; None where nothing could be.
        limit: What it is held against: at least for ``performance``, at most for the others. None where nothing is.
        sentence: The same in words, without a full stop.
    """

    name: str
    passed: bool
    figure: float | None
    limit: float | None
    sentence: str


@dataclass(frozen=True)
class PromotionDecision:
    """Whether a challenger becomes the champion.

    Attributes:
        promote: Whether it does.
        forced: Whether it does although a gate refused it, by ``promotion.force``.
        reason: Why, in one sentence without a full stop.
        gates: All gates, whatever they say.
        gain: Gain over the champion on the test rows, of ROC AUC or of expected profit per account in currency; None
            without a champion.
        compared_with: Version that was the champion then; None without one.
        sha256: Content hash of the challenger.
        fingerprint: Hash of what the challenger was trained on, see `churn.registry.fingerprint`.
        version: Version of the challenger in the registry, once the decision is carried out.
    """

    promote: bool
    forced: bool
    reason: str
    gates: tuple[Gate, ...]
    gain: float | None = None
    compared_with: str | None = None
    sha256: str = ""
    fingerprint: str | None = None
    version: str | None = None

    def about(self, sha256: str, fingerprint: str) -> Self:
        """The decision with the challenger that it is about."""
        return replace(self, sha256=sha256, fingerprint=fingerprint)

    def carried_out(self, alias: str, version: str, champion: str | None) -> Self:
        """The decision as it is carried out on a version of the registry.

        What was compared with another version than the one that is the champion by now is not promoted, unless it is
        forced: what became the champion meanwhile may be better.

        Args:
            alias: Alias of the model in use.
            version: Version of the challenger.
            champion: Version that has the alias now; None where none has.
        """
        if not self.promote or self.forced or champion in (self.compared_with, version):
            return replace(self, version=version)
        rival = f"version {self.compared_with}" if self.compared_with else f"no {alias} at all"
        reason = (
            f"Not promoted: version {champion} became the {alias} while this model was compared with {rival}; "
            "train again to compare it with that one"
        )
        return replace(self, version=version, promote=False, reason=reason)

    @property
    def tags(self) -> dict[str, str]:
        """What is noted on the version and on the run."""
        outcome = "promoted" if self.promote else "not promoted"
        tags = {"promotion": f"{outcome}, forced" if self.forced else outcome, "promotion_reason": self.reason}
        for gate in self.gates:
            tags[f"gate.{gate.name}"] = f"{'passed' if gate.passed else 'failed'}: {gate.sentence}"
        return tags

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types without nan or infinity; `from_dict` gives the equal decision back."""
        return {**asdict(self), "gates": [gate._asdict() for gate in self.gates]}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """The decision that `to_dict` described."""
        return cls(**{**stored, "gates": tuple(Gate(**gate) for gate in stored["gates"])})
