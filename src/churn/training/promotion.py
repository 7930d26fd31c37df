"""The decision whether a challenger becomes the champion, as it is carried out, stored, tagged and shown."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple, Self


class Gate(NamedTuple):
    """Result of one gate of a promotion.

    Attributes:
        name: ``performance``, ``calibration``, ``leakage``, ``latency`` or ``segments``.
        passed: Whether the condition is met.
        figure: Measured value, in the unit of the limit; None if nothing could be measured.
        limit: Least value for ``performance``, largest value for the others; None if there is no limit.
        sentence: The result as a sentence without a full stop.
        checked: Whether there was anything to check; if not, the gate counts as passed.
    """

    name: str
    passed: bool
    figure: float | None
    limit: float | None
    sentence: str
    checked: bool = True

    @property
    def word(self) -> str:
        """The result in a word or two."""
        return ("passed" if self.checked else "not checked") if self.passed else "failed"


@dataclass(frozen=True)
class PromotionDecision:
    """Whether a challenger becomes the champion.

    Attributes:
        promote: Whether the challenger is promoted.
        forced: Whether it is promoted by ``promotion.force`` although a gate refused it.
        reason: Reason as one sentence without a full stop.
        gates: Results of all gates.
        gain: Gain over the champion on the test rows, in ROC AUC or in expected profit per account in currency; None
            without a champion.
        compared_with: Version of the champion that it was compared with; None without a champion.
        sha256: Content hash of the challenger.
        fingerprint: Hash of data, parameters, code and packages of the training, see `churn.registry.fingerprint`.
        version: Version of the challenger in the registry, after the decision was carried out.
        unchanged: Whether the challenger is the champion itself, trained again.
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
    unchanged: bool = False

    def about(self, sha256: str, fingerprint: str) -> Self:
        """Return the decision with the hash and the fingerprint of its challenger."""
        return replace(self, sha256=sha256, fingerprint=fingerprint)

    def carried_out(self, alias: str, version: str, champion: str | None) -> Self:
        """Return the decision as it is to be carried out on a version of the registry.

        If another version has become the champion since the comparison, the challenger is not promoted unless it is
        forced, because the new champion may be better.

        Args:
            alias: Alias of the model in use.
            version: Version of the challenger.
            champion: Version that has the alias now; None if none has.
        """
        if not self.promote or self.forced or champion in (self.compared_with, version):
            return replace(self, version=version)
        rival = f"version {self.compared_with}" if self.compared_with else f"no {alias}"
        reason = (
            f"Not promoted: version {champion} became the {alias} while this model was compared with {rival}; "
            "train again to compare it with that one"
        )
        return replace(self, version=version, promote=False, reason=reason)

    @property
    def tags(self) -> dict[str, str]:
        """Tags of the model version and of the run."""
        outcome = "unchanged" if self.unchanged else "promoted" if self.promote else "not promoted"
        tags = {"promotion": f"{outcome}, forced" if self.forced else outcome, "promotion_reason": self.reason}
        for gate in self.gates:
            tags[f"gate.{gate.name}"] = f"{gate.word}: {gate.sentence}"
        return tags

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types without nan or infinity, from which `from_dict` restores an equal decision."""
        return {**asdict(self), "gates": [gate._asdict() for gate in self.gates]}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Restore a decision from the result of `to_dict`."""
        return cls(**{**stored, "gates": tuple(Gate(**gate) for gate in stored["gates"])})
