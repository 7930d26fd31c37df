"""The champion that the service answers with, and how it follows the alias.

A look asks the registry which version has the alias. Another version is verified by its hash, loaded beside the one in use,
and tried on canary rows; then one assignment puts it in place. A request takes the model once, so that an answer is of one
version. A faulty version is refused and told, and the one in use stays. While the registry does not answer, so does it.
"""

import logging
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from churn.config import AccountSchema
from churn.errors import ChurnError
from churn.model import ChurnModel, ModelSource
from churn.registry.cache import ModelCache
from churn.retention.terms import Terms, typical_values
from churn.serving.canaries import canary_faults

logger = logging.getLogger(__name__)

# Seconds after which a version that was refused is tried again: a download may have been damaged.
AGAIN = 60.0
# References to a former model that no request uses: of the list of these, of the loop over it, and of the count itself.
UNUSED = 3


@dataclass(frozen=True, eq=False)
class InUse:
    """A model in use, and what is computed from it once.

    Attributes:
        model: The model.
        terms: What a reason can be about.
        since: When it was put in place, in seconds since 1970.
    """

    model: ChurnModel
    terms: Terms
    since: float

    @property
    def typical(self) -> dict[str, float | str]:
        """Typical value of each column, see `churn.retention.terms.typical_values`."""
        return typical_values(self.model.encoder, self.model.reference)

    @property
    def described(self) -> dict[str, Any]:
        """What every answer says of the model."""
        source = self.model.source
        return {"version": self.model.version, "sha256": self.model.sha256, "run_id": source.run_id if source else None}


class Registry(Protocol):
    """Where models come from."""

    def version(self) -> tuple[str | None, str | None]:
        """Return version and content hash of the model in use now; ``None`` for what is not known before it is loaded."""
        ...

    def load(self) -> ChurnModel:
        """Return the model in use now, verified."""
        ...

    def copy(self) -> ChurnModel | None:
        """Return the last known model from its copy on this machine, verified; ``None`` if there is none."""
        ...

    def keep(self, model: ChurnModel) -> None:
        """Make a model the last known one: a later one was refused."""
        ...


class ModelRegistry:
    """MLflow's registry, with the verified copies on this machine."""

    def __init__(self, uri: str, cache: str, tracking_uri: str, check: Callable[[], None] = lambda: None) -> None:
        """Set the registry. Neither this nor `copy` imports MLflow, which takes seconds.

        Args:
            uri: URI of the model, in any form that `churn.registry.flavor.load_model` takes.
            cache: Folder of verified copies.
            tracking_uri: Address of MLflow.
            check: Called before MLflow is asked for the first time; raises ChurnError if it cannot be.
        """
        self._uri, self._cache, self._tracking_uri = uri, cache, tracking_uri
        self._check, self._is_checked = check, False

    def version(self) -> tuple[str | None, str | None]:
        """Ask the registry."""
        if not self._is_checked:
            self._check()
            self._is_checked = True
        from churn.registry.uri import locate

        place = locate(self._uri)
        return place.version, place.sha256

    def load(self) -> ChurnModel:
        """Load the model from its copy, or download it."""
        from churn.registry.flavor import load_model

        return load_model(self._uri, cache=self._cache)

    def copy(self) -> ChurnModel | None:
        """Read the copy, without MLflow, whose import alone takes seconds."""
        copies = ModelCache(self._cache)
        known = copies.recall(f"{self._tracking_uri} {self._uri}")
        folder = copies.find(known.sha256) if known is not None else None
        if known is None or folder is None:
            return None
        model = ChurnModel.load(folder, known.sha256)
        return model.loaded_from(ModelSource(self._uri, known.version or known.sha256[:12], known.run_id))

    def keep(self, model: ChurnModel) -> None:
        """Note it with the copies: loading the refused one has noted that one, with which no process could begin."""
        source = model.source
        if source is not None:
            known = f"{self._tracking_uri} {self._uri}"
            ModelCache(self._cache).remember(known, source.version, source.run_id, model.sha256)


class Champion:
    """The model in use.

    Attributes:
        current: The model in use; ``None`` before the first is loaded.
        error: Why the last look has failed; ``None`` if it has not.
        refused: Version and reason of the one that was refused last, while the alias names it.
        looked_at: When the last good look ended, in seconds since 1970.
        on_swap: Called after each try with the result: ``swapped``, ``refused``.
        on_use: Called with a model before it is put in place.
        on_refusal: Called with version and message at each refusal, and whether the version was refused before.
    """

    def __init__(self, registry: Registry, schema: AccountSchema, clock: Callable[[], float] = time.time) -> None:
        """Set where models come from, and the schema that they must fit."""
        self._registry, self._schema, self._clock = registry, schema, clock
        self._lock = threading.Lock()
        self._key: tuple[str | None, str | None] | None = None
        self._not_before: dict[tuple[str | None, str | None], float] = {}
        self._former: list[InUse] = []
        self.current: InUse | None = None
        self.error: str | None = None
        self.refused: dict[str, str] | None = None
        self.looked_at: float | None = None
        self.on_swap: Callable[[str], None] = lambda result: None
        self.on_use: Callable[[ChurnModel], None] = lambda model: None
        self.on_refusal: Callable[..., None] = lambda version, text, *, again: None

    def begin(self) -> None:
        """Begin with the last known model, whose copy is here, so that requests need not wait for the registry."""
        with self._lock:
            try:
                model = self._registry.copy()
                if model is not None and self._put(model, None):
                    self._key = (model.version, model.sha256)
            except (ChurnError, OSError) as error:
                logger.warning("The copy of the last known model is not used: %s", error)

    def look(self) -> None:
        """Look which model is in use, and put it in place.

        Never raises an error of the registry or of the model; `error` and `refused` tell.
        """
        with self._lock:
            # Here and not where the last request ends: what XGBoost has kept for a booster in the memory of the thread that has
            # prepared it, a megabyte, is given back only if the booster ends in that thread.
            self._former = [each for each in self._former if sys.getrefcount(each) > UNUSED]
            try:
                key = self._registry.version()
            except Exception as error:
                said = str(error).partition("\n")[0]
                if self.error != said:
                    logger.warning("The champion is not known%s: %s", self._stays, said)
                self.error = said
                return
            self.error, self.looked_at = None, self._clock()
            if key == self._key or (self.current is not None and key == (None, None)):
                self.refused = None
            elif not self._clock() < self._not_before.get(key, 0.0) <= self._clock() + AGAIN:
                self._try(key)

    @property
    def _stays(self) -> str:
        return f", version {self.current.model.version} stays in use" if self.current else ""

    def _try(self, key: tuple[str | None, str | None]) -> None:
        try:
            model = self._registry.load()
        except Exception as error:
            self._refuse(key, str(error).partition("\n")[0])
            return
        if self._put(model, key) and (key[0] is None or model.version == key[0]):
            self._key = key

    def _put(self, model: ChurnModel, key: tuple[str | None, str | None] | None) -> bool:
        """Put a model in place, if it is sound; return whether it is."""
        try:
            # One thread: requests are small, and other workers use the other cores.
            model.use(threads=1)
            faults = model.misfits(self._schema)
            if not faults:
                # What the first requests would compute, in their threads, is computed in this one; see `look`.
                model.rows.prepare(reasons=True)
                _ = model.sha256
                faults = canary_faults(model)
            reason = "; ".join(faults)
        except Exception as error:  # whatever a faulty model does, the one in use stays
            reason = f"{type(error).__name__}: {error}"
        if reason:
            self._refuse(key or (model.version, model.sha256), reason)
            return False
        before = self.current
        if before is not None:
            self._former.append(before)
        self.on_use(model)
        self.current = InUse(model, Terms.of(model.encoder, model.reference), self._clock())
        self.refused = None
        logger.info(
            "Version %s is in use%s", model.version, f" in place of version {before.model.version}" if before else ""
        )
        self.on_swap("swapped")
        return True

    def _refuse(self, key: tuple[str | None, str | None], reason: str) -> None:
        told = {"version": str(key[0]), "reason": reason}
        if self.refused != told:
            logger.warning("Version %s is refused%s: %s", key[0], self._stays, reason)
        if self.current is not None:
            self._registry.keep(self.current.model)
        again = self.refused is not None and self.refused["version"] == told["version"]
        self.refused = told
        stays = self._stays or ", and there is no other to answer with"
        self.on_refusal(
            told["version"], f"Version {key[0]} of the model is refused by churn serve{stays}: {reason}", again=again
        )
        self._not_before = {key: self._clock() + AGAIN}
        self.on_swap("refused")

    def require(self) -> InUse:
        """Return the model in use.

        Raises:
            ChurnError: If there is none.
        """
        if self.current is None:
            reason = self.error or (self.refused or {}).get("reason") or "none was loaded yet"
            raise ChurnError(f"there is no model to answer with: {reason}")
        return self.current
