"""What MLflow's pages show about a run: its name, its description, and the table that it read.

The description is the summary of the model card, of the scores and of the health report in Markdown. Neither has rows or ids of
accounts.
"""

import json
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kedro.io import AbstractDataset, CatalogProtocol
from kedro.pipeline import Pipeline

from churn.config import at_costs
from churn.config.console import shown_path
from churn.config.health import HEALTH_WORDS
from churn.config.secrets import REDACTION
from churn.reporting.model_card_summary import card_in_markdown

Catalog = CatalogProtocol[str, AbstractDataset[Any, Any]]

DEFAULT, DEFAULT_RUNNER = "__default__", "SequentialRunner"
NAME_TAG, NOTE_TAG = "mlflow.runName", "mlflow.note.content"
# Longest digest of a data set in MLflow.
DIGEST = 36


@dataclass(frozen=True)
class Made:
    """What a run has made.

    Attributes:
        decision: Decision on the promotion.
        metrics: Metrics of the training.
        card: Model card.
        manifest: Manifest of the published results.
        health: Metrics of the health report.
    """

    decision: Mapping[str, Any] | None = None
    metrics: Mapping[str, float] | None = None
    card: Mapping[str, Any] | None = None
    manifest: Mapping[str, Any] | None = None
    health: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, pipeline: Pipeline, catalog: Catalog) -> "Made":
        """Read what a run has made from its catalog."""
        made = pipeline.all_outputs()

        def loaded(name: str) -> Any:
            return catalog[name].load() if name in made else None

        published: Any = catalog["results@publish"] if "results@publish" in made else None
        report: Any = catalog["health_report"] if "health_report" in made else None
        return cls(
            decision=loaded("promotion_decision"),
            metrics=loaded("training_metrics"),
            card=loaded("model_card"),
            manifest=published.published if published is not None else None,
            health=report.saved["metrics"] if report is not None and report.saved is not None else None,
        )


def named_runner(run_params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a run with the name of its runner; Kedro has the text of the object with its address."""
    name = re.sub(r"^<(?:[\w.]+\.)?(\w+) object at .*>$", r"\1", str(run_params.get("runner")))
    return {**run_params, "runner": DEFAULT_RUNNER if name == "None" else name}


def first_name(pipeline_names: list[str] | None) -> str:
    """Return the name of a run that has just started: its pipelines."""
    names = [name for name in pipeline_names or [] if name != DEFAULT]
    return " + ".join(names) or "all pipelines"


def run_name(made: Made) -> str | None:
    """Return the name of a run by what it did: ``training: promoted v3, ROC AUC .811``; ``None`` if it made no result."""
    return "; ".join(_parts(made)) or None


def _parts(made: Made) -> Iterator[str]:
    if made.decision is not None:
        version = f"v{made.decision['version']}"
        if made.decision["unchanged"]:
            did = f"{version} again, unchanged"
        elif made.decision["promote"]:
            did = f"promoted {version}{' by force' if made.decision['forced'] else ''}"
        else:
            did = f"{version} not promoted"
        yield f"training: {did}{_auc(made.metrics)}"
    elif made.metrics is not None:
        yield f"training{_auc(made.metrics).replace(',', ':', 1)}"
    if made.manifest is not None:
        yield f"inference: {made.manifest['rows']:,} scored with v{made.manifest['model']['version']}"
    if made.health is not None:
        yield f"monitoring: {HEALTH_WORDS[made.health['status']]}"


def _auc(metrics: Mapping[str, float] | None) -> str:
    value = (metrics or {}).get("test_roc_auc")
    return "" if value is None else f", ROC AUC {f'{value:.3f}'.lstrip('0')}"


def description(made: Made) -> str | None:
    """Return the description of a run in Markdown; ``None`` if it made no result."""
    return "\n\n".join(_sections(made)) or None


def _sections(made: Made) -> Iterator[str]:
    if made.card is not None:
        yield card_in_markdown(made.card)
    if made.manifest is not None:
        one = made.manifest
        costs = f" {said}" if (said := at_costs(one["example_costs"])) else ""
        yield (
            f"### Scores\n\n{one['rows']:,} accounts as of {one['as_of']}, scored with version {one['model']['version']}: "
            f"{one['at_risk']:,} at risk (probability of {one['threshold']:g} or more), {one['to_act_on']:,} to act on, expected "
            f"profit {one['expected_profit']:,.0f}{costs}. Published as run `{one['run_id']}`."
        )
    if made.health is not None:
        findings = [*made.health["alarms"], *made.health["to_watch"]]
        listed = "".join(f"\n- {sentence}" for sentence in findings)
        yield f"### Health: {HEALTH_WORDS[made.health['status']]}\n\n" + (
            f"{len(findings)} findings:\n{listed}" if findings else "No metric has reached a limit."
        )


def inputs_of(made: Made, catalog: Catalog) -> Iterator[tuple[Any, str]]:
    """Yield the tables that a run read as data sets of MLflow, each with its context. No row is copied or read again."""
    if made.card is not None and (source := made.card["data"]):
        yield _table(source, source.get("sha256"), _place("training_accounts@fingerprint", catalog)), "training"
    if made.manifest is not None and (source := made.manifest["input"]):
        yield _table(source, source.get("sha256"), _place("scoring_accounts@fingerprint", catalog)), "scoring"


def _place(entry: str, catalog: Catalog) -> str:
    dataset: Any = catalog.get(entry)
    return str(REDACTION.within(shown_path(str(dataset._describe()["filepath"])))) if dataset is not None else ""


def _table(source: Mapping[str, Any], sha256: str | None, place: str) -> Any:
    from mlflow.data.dataset_source_registry import resolve_dataset_source
    from mlflow.data.meta_dataset import MetaDataset

    class Table(MetaDataset):
        """A table by its name, place, hash and number of rows."""

        @property
        def profile(self) -> dict[str, Any]:
            known = {"num_rows": source.get("rows"), "bytes": source.get("bytes")}
            return {name: value for name, value in known.items() if value is not None}

        def to_dict(self) -> dict[str, str]:
            return {**super().to_dict(), "profile": json.dumps(self.profile)}

    with warnings.catch_warnings():
        # MLflow has two equal classes for paths of this machine, and says that it takes the first.
        warnings.simplefilter("ignore", UserWarning)
        where = resolve_dataset_source(place)
    return Table(where, name=str(source["name"]), digest=sha256 and sha256[:DIGEST])
