"""The deployable model: from raw account rows to probabilities of churn.

A `ChurnModel` is an encoder, trees, a linear part beside it, a calibration, a threshold with risk bands, and the
reference that later data is compared with. It is stored as a folder of safe formats only, never as a pickle: the trees
in XGBoost's UBJSON, everything else in JSON, and the SHA-256 of both, which is checked before anything is loaded.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn.config import AccountSchema, RiskBand
from churn.errors import ChurnError
from churn.model.calibration import Calibration
from churn.model.canaries import Canaries
from churn.model.contributions import by_column
from churn.model.encoder import Encoder
from churn.model.linear import Linear
from churn.model.profile import Profile
from churn.model.small import PartialScores, RowScore, RowScorer
from churn.model.storage import BOOSTER_FILE, CHECKSUM_FILE, MODEL_FILE, checksums_of, digest, read_verified
from churn.model.trees import Trees
from churn.model.xgboost_trees import XGBoostTrees
from churn.tables import as_text
from churn.tables.cells import respelled
from churn.tables.dates import with_time_since
from churn.tables.split import Split

# Column of `ChurnModel.explain` with the part of the margin that belongs to no account column.
BASELINE = "(baseline)"

# Version of the stored format. Models without rates of categories and differences have version 2, which earlier programs can
# read. Version 1 has no linear part.
FORMAT, PLAIN_FORMAT = 3, 2
OLDER_FORMATS = (1, PLAIN_FORMAT)


@dataclass(frozen=True)
class ModelSource:
    """Source of a loaded model.

    Attributes:
        uri: Requested URI, for example ``models:/churn@champion``.
        version: Version in the registry, or the first 12 digits of the content hash if it has none.
        run_id: MLflow run that trained the model, if known.
    """

    uri: str
    version: str
    run_id: str | None = None


@dataclass(frozen=True, eq=False)
class ChurnModel:
    """A trained churn model.

    Attributes:
        schema: Schema of the table it was trained on.
        encoder: Encoder fitted on the training rows.
        trees: Boosted trees, which compute the margin of encoded rows: the log-odds before calibration.
        linear: Logistic regression whose weighted margin is added; None if its learned weight is 0.
        threshold: Probability from which churn is predicted.
        risk_bands: Named ranges of probability, rising from 0.
        reference: Profile of the columns of the training rows, and of the scores of the test rows, which no part of the model
            was fitted on; out-of-fold scores of the training rows if it was trained without test rows.
        performance: Metrics of the scores of the test rows and of the out-of-fold scores together, with the number of these
            ``rows``, their ``churn_rate``, and ``roc_auc_standard_error``.
        importance: For each account column the mean absolute contribution to the margin, in log-odds.
        calibration: Strictly increasing function from the margin to the probability.
        split: Which accounts were test rows; None if that is not known.
        canaries: Training rows and their scores, see `canary_faults`; None for models that were stored without.
        source: Source it was loaded from; None for a model that was just trained.
    """

    schema: AccountSchema
    encoder: Encoder
    trees: Trees
    threshold: float
    risk_bands: tuple[RiskBand, ...]
    reference: Profile
    performance: Mapping[str, float] = field(default_factory=dict)
    importance: Mapping[str, float] = field(default_factory=dict)
    calibration: Calibration = field(default_factory=Calibration)
    linear: Linear | None = None
    split: Split | None = None
    canaries: Canaries | None = None
    source: ModelSource | None = None

    @property
    def version(self) -> str:
        """Version for results: that of the registry, or the first 12 digits of the content hash."""
        return self.source.version if self.source else self.sha256[:12]

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the stored content; equal models have equal hashes wherever and whenever they were trained."""
        return digest(checksums_of(self.files()))

    @property
    def vocabularies(self) -> Mapping[str, tuple[str, ...]]:
        """Known categories of each categorical column."""
        return self.encoder.known

    def probability(self, accounts: pd.DataFrame) -> NDArray[np.float32]:
        """Return the probability of churn of each account row, shape (n,). Rows do not influence each other.

        Raises:
            AccountsError: If a column that the encoder reads is missing or not numeric.
        """
        return self.probability_of(self._encoded(accounts))

    def _encoded(self, accounts: pd.DataFrame) -> NDArray[np.float32]:
        if any(item.feature not in accounts.columns for item in self.schema.dates):
            accounts = with_time_since(accounts, self.schema)
        return self.encoder.transform(accounts, self.schema.missing, self.schema.missing_text)

    def probability_of(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the probability of churn of encoded rows: features of shape (n, k), result of shape (n,)."""
        return self.calibration.apply(self.margin_of(features))

    def margin_of(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the log-odds before calibration of encoded rows: features of shape (n, k), result of shape (n,)."""
        margin = self.trees.margin(features)
        return np.asarray(margin if self.linear is None else margin + self.linear.margin(features), dtype=np.float32)

    def score(self, accounts: pd.DataFrame) -> pd.DataFrame:
        """Score account rows, raw or canonical, in any order of columns.

        Returns:
            One row per account in the same order: the id, ``probability`` (float32), ``prediction`` (0 or 1),
            ``risk_band`` and ``model_version``.

        Raises:
            AccountsError: If a required column is missing, or a numeric one holds other values.
        """
        return self.scores_of(accounts, self.probability(accounts))

    def scores_of(self, accounts: pd.DataFrame, probability: NDArray[np.float32]) -> pd.DataFrame:
        """Return the result of `score` for accounts whose probabilities, shape (n,), are known."""
        return pd.DataFrame(
            {
                self.schema.id: as_text(accounts[self.schema.id]).to_numpy(),
                "probability": probability,
                "prediction": (probability >= self.threshold).astype(np.int8),
                "risk_band": self.bands_of(probability),
                "model_version": self.version,
            }
        )

    def score_rows(self, records: Sequence[Mapping[str, Any]], *, reasons: bool = False) -> list[RowScore]:
        """Score a few rows on this thread, without pandas: within a millisecond for one, with reasons.

        Args:
            records: Rows as mappings from column to value, as JSON or Python gives them; None is missing. Each has all
                columns of the schema but the label; others are ignored unless the schema is strict.
            reasons: Whether to compute the contributions, from which `churn.retention.reasons.RowReasons` makes reasons.

        Returns:
            The scores in the order of the rows, equal to the last bit to those of `score` and `explain_terms`.

        Raises:
            AccountsError: Lists every fault in the words of `churn.tables.check_accounts`; an id may occur once.
        """
        return self.rows.score(records, reasons)

    def score_good_rows(
        self, records: Sequence[Mapping[str, Any]], *, reasons: bool = False, as_of: date | None = None
    ) -> PartialScores:
        """Score the rows that have no fault, see `score_rows`, and return the faults of the others by row and column.

        The time since dates is counted to `as_of`, if that is given and no column has the date of the snapshot.
        """
        return self.rows.score_good(records, reasons, as_of)

    @cached_property
    def rows(self) -> RowScorer:
        """What scores a few rows, prepared once; `RowScorer.prepare` does so before the first rows come."""
        return RowScorer(
            self.schema, self.encoder, self.trees, self.linear, self.calibration, self.threshold, self.risk_bands
        )

    def bands_of(self, probability: NDArray[np.float32]) -> "pd.Categorical[str]":
        """Return the risk band of each probability, shape (n,)."""
        starts = np.array([band.minimum for band in self.risk_bands], dtype=np.float32)
        codes = np.searchsorted(starts, probability, side="right") - 1
        names = pd.Index([band.name for band in self.risk_bands])
        return pd.Categorical.from_codes(codes, categories=names, ordered=True)

    def explain(self, accounts: pd.DataFrame) -> pd.DataFrame:
        """Compute exact contributions by account column: TreeSHAP of the trees plus those of the linear part.

        TreeSHAP: Lundberg et al. 2020, doi:10.1038/s42256-019-0138-9.

        Returns:
            One row per account: a column for each account column that the model uses and ``(baseline)``, in log-odds.
            The columns of a row add up to its margin (`margin_of`); calibration keeps the order of margins, not the
            sums. The contribution of a ratio is shared equally by its two columns.
        """
        return self._explained(accounts, self.encoder.columns, self.encoder.shares)

    def explain_terms(self, accounts: pd.DataFrame) -> pd.DataFrame:
        """Compute exact contributions as `explain` does, of terms: numeric columns, ratios and categorical columns.

        Returns:
            One row per account: a column for each of `Encoder.terms` and ``(baseline)``, in log-odds.
        """
        return self._explained(accounts, self.encoder.terms, self.encoder.term_shares)

    def _explained(self, accounts: pd.DataFrame, names: Sequence[str], shares: NDArray[np.float64]) -> pd.DataFrame:
        features = self._encoded(accounts)
        parts, baseline = self.trees.contributions(features, shares)
        if self.linear is not None:
            parts += by_column(self.linear.contributions(features), shares)
            baseline += self.linear.baseline
        table = pd.DataFrame(parts, index=accounts.index, columns=list(names))
        return table.assign(**{BASELINE: baseline})

    def mean_contributions(self, features: NDArray[np.float32]) -> dict[str, float]:
        """Return the mean absolute contribution of each account column over encoded rows, in log-odds.

        For a few rows, see `Trees.few_contributions`.
        """
        parts, _ = self.trees.few_contributions(features, self.encoder.shares)
        if self.linear is not None:
            parts += self.linear.contributions(features) @ self.encoder.shares
        return dict(zip(self.encoder.columns, np.abs(parts).mean(axis=0).tolist(), strict=True))

    def check_fits(self, schema: AccountSchema) -> None:
        """Check that a table has the schema that the model was trained on.

        Raises:
            ChurnError: Names the columns that differ.
        """
        faults = self.misfits(schema)
        if faults:
            name = self.source.uri if self.source else "the model"
            raise ChurnError(
                f"{name} was trained for another table: {'; '.join(faults)}. "
                "Train a model for this one (kedro run --pipelines training), or name another with --params model_uri=..."
            )

    def misfits(self, schema: AccountSchema) -> list[str]:
        """Return how a schema differs from that of the model, one sentence each; empty if its tables can be scored."""
        faults = []
        if schema.id != self.schema.id:
            faults.append(f"the id is '{self.schema.id}' there and '{schema.id}' here")
        for role, theirs, ours in (
            ("numeric", set(self.encoder.numeric), set(schema.numeric_names)),
            ("categorical", set(self.encoder.vocabularies), set(schema.categorical)),
        ):
            if theirs - ours:
                faults.append(
                    f"{role} columns of the model that are not {role} here: {', '.join(sorted(theirs - ours))}"
                )
            if ours - theirs:
                faults.append(f"{role} columns here that the model does not know: {', '.join(sorted(ours - theirs))}")
        return faults

    def canary_faults(self) -> list[str]:
        """Return how the scores of the stored canary rows differ from those of the training; not compared on a GPU."""
        if self.canaries is None or self.device != "cpu":
            return []
        return self.canaries.faults(self.probability(self.canaries.frame()))

    def check_canaries(self) -> None:
        """Check that the model computes here what it computed at its training.

        Raises:
            ChurnError: If the score of a stored canary row differs.
        """
        if faults := self.canary_faults():
            name = self.source.uri if self.source else "the model"
            advice = "Install the locked packages anew (uv sync --locked), score on another machine, or train the model again"
            raise ChurnError(f"{name}: {'; '.join(faults)}. {advice}")

    def familiar(self, accounts: pd.DataFrame, columns: Iterable[str] | None = None) -> dict[str, bool]:
        """Return, for each categorical column that has values, whether the model knows any of them.

        Args:
            accounts: Canonical account rows.
            columns: Columns to check; all by default.
        """
        vocabularies = self.vocabularies
        found = {}
        for name in vocabularies if columns is None else columns:
            values = accounts[name].dropna()
            if len(values) and len(vocabularies[name]):
                found[name] = bool(values.isin(respelled(vocabularies[name])).any())
        return found

    def unseen_faults(self, familiar: Mapping[str, bool]) -> list[str]:
        """Return a sentence for each column in which the model knows no value, see `familiar`."""
        faults = []
        for name, vocabulary in self.vocabularies.items():
            if not familiar.get(name, True):
                known = ", ".join(vocabulary[:5]) + (", ..." if len(vocabulary) > 5 else "")
                faults.append(f"{name}: holds only values that the model has never seen; it knows {known}")
        return faults

    @property
    def device(self) -> str:
        """Device on which the trees predict."""
        return self.trees.device

    def use(self, *, device: str = "cpu", threads: int = 0) -> Self:
        """Set the device and the number of threads (0 for all cores) of the trees; returns the model itself."""
        self.trees.use(device=device, threads=threads)
        return self

    def loaded_from(self, source: ModelSource) -> Self:
        """Return the same model with its source."""
        return replace(self, source=source)

    def save(self, folder: Path) -> None:
        """Write the model into a folder, which is created if it does not exist."""
        files = self.files()
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / name).write_bytes(content)
        (folder / CHECKSUM_FILE).write_bytes(checksums_of(files))

    @classmethod
    def load(cls, folder: Path, expected_sha256: str | None = None) -> Self:
        """Read a model from a folder, after checking every hash.

        Args:
            folder: Folder that `save` wrote.
            expected_sha256: Expected content hash, for example that of the registry.

        Raises:
            ChurnError: If a file is missing, damaged or of another format; no content is parsed then.
        """
        return cls.from_files(read_verified(folder, expected_sha256), str(folder))

    @classmethod
    def from_files(cls, files: Mapping[str, bytes], place: str = "the model") -> Self:
        """Restore a model from the result of `files`.

        Args:
            files: Content by file name. It is not verified here, and XGBoost may crash on damaged content.
            place: Source of the files, for messages.

        Raises:
            ChurnError: If the format is another one.
        """
        stored = json.loads(files[MODEL_FILE])
        if stored["format"] not in (FORMAT, *OLDER_FORMATS):
            raise ChurnError(
                f"{place}/{MODEL_FILE}: format {stored['format']}, this version of churn reads {FORMAT}; "
                "train the model again, or load it with the version of churn that stored it"
            )
        return cls(
            schema=AccountSchema.model_validate(stored["roles"]),
            encoder=Encoder.from_dict(stored["encoder"]),
            trees=XGBoostTrees.from_bytes(files[BOOSTER_FILE]),
            threshold=stored["threshold"],
            risk_bands=tuple(RiskBand.model_validate(band) for band in stored["risk_bands"]),
            reference=Profile.from_dict(stored["reference"]),
            performance=stored["performance"],
            importance=stored["importance"],
            # Models that were stored before calibration existed have no entry for it.
            calibration=Calibration.from_dict(stored["calibration"]) if "calibration" in stored else Calibration(),
            linear=Linear.from_dict(stored["linear"]) if stored.get("linear") else None,
            # Models that were stored before accounts were split by their ids have no entry for it.
            split=Split.from_dict(stored["split"]) if "split" in stored else None,
            # Models that were stored before there were canary rows have no entry for them.
            canaries=Canaries.from_dict(stored["canaries"]) if "canaries" in stored else None,
        )

    def files(self) -> dict[str, bytes]:
        """Return the stored form of the model: content by file name."""
        described = {
            "format": FORMAT if self.encoder.rated or self.encoder.differences else PLAIN_FORMAT,
            "roles": self.schema.model_dump(mode="json"),
            "encoder": self.encoder.to_dict(),
            "linear": self.linear.to_dict() if self.linear else None,
            "calibration": self.calibration.to_dict(),
            "threshold": self.threshold,
            "risk_bands": [band.model_dump() for band in self.risk_bands],
            "reference": self.reference.to_dict(),
            "performance": dict(self.performance),
            "importance": dict(self.importance),
            **({"split": self.split.to_dict()} if self.split else {}),
            **({"canaries": self.canaries.to_dict()} if self.canaries else {}),
        }
        text = json.dumps(described, indent=1, ensure_ascii=False, allow_nan=False)
        return {BOOSTER_FILE: self.trees.to_bytes(), MODEL_FILE: text.encode() + b"\n"}
