"""Deliver a published run to a target: find what has changed, send it, and tell which accounts are gone."""

import logging
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from churn.config import Delivery
from churn.delivery.columns import Fields, fields_of, mapped
from churn.delivery.content import Batch, Held, changed, content_of, joined
from churn.delivery.published import PublishedAccounts, PublishedRun
from churn.delivery.target import Occasion, Rejects, Session, Target, TargetError, removals
from churn.errors import ChurnError

if TYPE_CHECKING:
    import pyarrow as pa

logger = logging.getLogger(__name__)

# Rows that a dry run shows.
EXAMPLES = 3
Status = Literal["delivered", "dry_run", "failed"]


@dataclass(frozen=True)
class Counts:
    """Numbers of accounts of a delivery.

    Attributes:
        new: Accounts that the target does not hold.
        changed: Accounts that it holds otherwise.
        unchanged: Accounts that it holds as they are.
        removed: Accounts that it holds and that are no longer delivered.
        rejected: Accounts that it has rejected.
    """

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0
    rejected: int = 0

    @property
    def sent(self) -> int:
        """Accounts that were sent."""
        return self.new + self.changed + self.removed


@dataclass(frozen=True)
class Outcome:
    """The outcome of a delivery to a target.

    Attributes:
        target: Name of the target.
        place: Where it is, without secrets.
        status: `delivered`, or `dry_run`, or `failed`.
        counts: Numbers of accounts; only that of the rejected ones if it failed.
        reason: Why it failed, or why nothing was sent.
        examples: Some changed rows of a dry run, without ids and missing values.
        rejects: File with the rejected rows, if there are any.
    """

    target: str
    place: str
    status: Status
    counts: Counts = Counts()
    reason: str = ""
    examples: list[dict[str, Any]] = field(default_factory=list)
    rejects: str = ""

    def __str__(self) -> str:
        """The outcome in words, without ids."""
        counts = self.counts
        said = f"{counts.sent:,} of {counts.sent + counts.unchanged:,} accounts"
        parts = f"{counts.new:,} new, {counts.changed:,} changed, {counts.removed:,} removed"
        if self.status == "dry_run":
            return f"dry run, {said} would be sent ({parts}); {self.reason}"
        if self.status == "failed":
            return f"failed: {self.reason}"
        rejected = f"; {counts.rejected:,} rejected, see {self.rejects}" if counts.rejected else ""
        return f"{said} sent ({parts}){rejected}; {self.place}"

    def as_dict(self) -> dict[str, Any]:
        """Return the outcome as JSON holds it, without the examples."""
        counts = {**asdict(self.counts), "sent": self.counts.sent}
        return {
            "target": self.target,
            "place": self.place,
            "status": self.status,
            "reason": self.reason,
            "counts": counts,
            "rejects": self.rejects,
        }


@dataclass(frozen=True)
class Deliveries:
    """What is to be delivered: a run, to the targets of the parameters."""

    run: PublishedRun
    settings: Delivery


class Comparison:
    """The accounts of a run beside what a target holds."""

    def __init__(
        self, accounts: PublishedAccounts, target: Target, fields: Fields, occasion: Occasion, held: Held
    ) -> None:
        self._accounts, self._settings, self._fields = accounts, target.settings, fields
        self._values, self._held = occasion.values, held
        self._seen: NDArray[np.bool_] = np.zeros(len(held), dtype=bool)
        self.counts = Counts()

    def __iter__(self) -> Iterator[tuple["pa.Table", Held, NDArray[np.bool_]]]:
        """Yield rows of the target, what they would be in its ledger, and which have to be sent."""
        import pyarrow.compute as pc

        self._seen[:] = False
        self.counts = Counts()
        wanted = [each.source for each in self._fields.all if each.source not in self._values]
        for part in self._accounts.batches(wanted, self._settings.accounts):
            rows = mapped(part, self._fields, self._values)
            new = content_of(rows, self._fields)
            places = pc.fill_null(pc.index_in(new.ids, value_set=self._held.ids), -1).to_numpy(zero_copy_only=False)
            to_send = changed(new, self._held, places.astype(np.int64), self._settings.tolerance)
            known = places >= 0
            self._seen[places[known]] = True
            counts = self.counts
            self.counts = replace(
                counts,
                new=counts.new + int((~known).sum()),
                changed=counts.changed + int((to_send & known).sum()),
                unchanged=counts.unchanged + int((~to_send).sum()),
            )
            now = Held(new.ids, new.content.copy(), new.score.copy())
            kept = ~to_send
            now.content[kept], now.score[kept] = self._held.content[places[kept]], self._held.score[places[kept]]
            yield rows, now, to_send

    def unseen(self) -> Held:
        """Return what the target holds of accounts that were not among them."""
        return Held(self.gone(), self._held.content[~self._seen], self._held.score[~self._seen])

    def gone(self) -> "pa.Array":
        """Return the ids that the target holds and that were not among the accounts."""
        import pyarrow as pa

        return self._held.ids.filter(pa.array(~self._seen))


def deliver(target: Target, run: PublishedRun, settings: Delivery, *, rejects: Path) -> Outcome:
    """Deliver a run to a target. Its failure is an outcome, so that other targets get what is theirs.

    Args:
        target: The target.
        run: The run.
        settings: Parameters of all targets.
        rejects: File for rejected rows.
    """
    occasion = Occasion(run.accounts.run, datetime.now(UTC).replace(microsecond=0), uuid.uuid4().hex)
    rejected = Rejects(rejects, target.settings.rejects)
    delivery = _Delivery(target, run, occasion, rejected)
    outcome = Outcome(target.settings.name, "", "failed")
    try:
        status, reason = delivery.run(settings)
        outcome = replace(outcome, place=target.place, status=status, reason=reason, examples=delivery.examples)
    except (TargetError, ChurnError) as error:
        outcome = replace(outcome, reason=str(error))
    except Exception as error:  # of whatever library: the other targets get theirs
        logger.exception("%s: an unexpected error", target.settings.name)
        outcome = replace(outcome, reason=f"{type(error).__name__}, see the log")
    finally:
        rejected.close(delivered=outcome.status == "delivered")
    # Of a delivery that failed, it is not known how many accounts of the last batch were taken.
    counts = replace(delivery.counts if outcome.status != "failed" else Counts(), rejected=rejected.count)
    return replace(outcome, counts=counts, rejects=str(rejects) if rejected.count else "")


class _Delivery:
    def __init__(self, target: Target, run: PublishedRun, occasion: Occasion, rejects: Rejects) -> None:
        self._target, self._accounts, self._occasion = target, run.accounts, occasion
        self._partial, self._is_current, self._rejects = run.partial, run.is_current, rejects
        self.counts = Counts()
        self.examples: list[dict[str, Any]] = []

    def run(self, settings: Delivery) -> tuple[Status, str]:
        target = self._target
        if faults := target.faults():
            raise TargetError("; ".join(faults))
        fields = fields_of(target.settings, self._accounts.schema, self._accounts.id, flagged=target.flagged)
        with target.session(fields, self._rejects) as session:
            session.partial = self._partial
            if faults := session.faults():
                raise TargetError("; ".join(faults))
            reason = _why_dry(session, target, settings)
            if not reason:
                session.begin(self._occasion)
                if not self._is_current():
                    raise TargetError("another run has published results meanwhile; run again, which delivers those")
            comparison = Comparison(self._accounts, target, fields, self._occasion, session.held())
            if reason:
                self._look(comparison, fields)
                return "dry_run", reason
            self._send(session, comparison, fields, settings)
            session.end()
        return "delivered", ""

    def _look(self, comparison: Comparison, fields: Fields) -> None:
        """Count, and keep some rows without their ids."""
        for rows, _, to_send in comparison:
            places = np.flatnonzero(to_send)[: EXAMPLES - len(self.examples)]
            shown = rows.drop_columns([fields.id.name]).take(places)
            self.examples += [
                {name: str(value) for name, value in each.items() if value is not None} for each in shown.to_pylist()
            ]
            self.counts = comparison.counts
        self.counts = replace(comparison.counts, removed=0 if self._partial else len(comparison.gone()))

    def _send(self, session: Session, comparison: Comparison, fields: Fields, settings: Delivery) -> None:
        if session.wants_all:  # which is not written if nothing has changed
            for _ in comparison:
                pass
            if not comparison.counts.sent and (self._partial or not len(comparison.gone())):
                self.counts = comparison.counts
                return
        waiting: list[Batch] = []
        size = self._target.batch_rows
        for rows, now, to_send in comparison:
            if session.wants_all:
                session.whole(rows, now)
            places = np.flatnonzero(to_send)
            if len(places):
                held = Held(now.ids.take(places), now.content[places], now.score[places])
                waiting.append(Batch(rows.take(places), held))
            while sum(map(len, waiting)) >= size:
                batch = joined(waiting)
                session.upsert(batch.part(0, size))
                waiting = [batch.part(size, len(batch) - size)]
            self.counts = comparison.counts
        if (last := joined(waiting) if waiting else None) is not None and len(last):
            session.upsert(last)
        self._tell_removed(session, comparison, fields, settings)

    def _tell_removed(self, session: Session, comparison: Comparison, fields: Fields, settings: Delivery) -> None:
        gone, counts = comparison.gone(), comparison.counts
        if not len(gone):
            return
        if self._partial:
            if session.wants_all:
                session.whole(None, comparison.unseen())
            logger.info(
                "%s: the current results are those of some files of the table (inference.incremental), so the target is not told "
                "which accounts are gone",
                self._target.settings.name,
            )
            return
        holds = len(gone) + counts.changed + counts.unchanged
        if len(gone) > settings.most_removed * holds:
            raise TargetError(
                f"{len(gone):,} of the {holds:,} accounts that it holds are no longer delivered, more than "
                f"delivery.most_removed = {settings.most_removed:g} allows; it was not told so. If it is right, raise it"
            )
        size = self._target.batch_rows
        for start in range(0, len(gone), size):
            part = gone.slice(start, size)
            session.remove(removals(part, fields, self._occasion))
            self.counts = replace(self.counts, removed=self.counts.removed + len(part))


def _why_dry(session: Session, target: Target, settings: Delivery) -> str:
    """Return why nothing is sent; empty if it is."""
    if settings.dry_run:
        return "delivery.dry_run is set"
    command = "--params delivery.first=send sends it"
    if session.state == "new" and (target.settings.first or settings.first) == "dry_run":
        return f"this would be the first delivery to it; {command}"
    if session.state == "lost" and settings.first != "send":
        return f"its ledger was damaged, so it is not known what it holds; {command}, all accounts again"
    return ""
