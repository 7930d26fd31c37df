"""The summary after a run."""

from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

import click
from kedro.framework.hooks import hook_impl
from kedro.io import AbstractDataset, CatalogProtocol
from kedro.pipeline import Pipeline

from churn.config import at_costs
from churn.config.console import shown_path
from churn.config.health import HEALTH_WORDS
from churn.config.secrets import REDACTION
from churn.registry.unpromoted import ways_out

Catalog = CatalogProtocol[str, AbstractDataset[Any, Any]]


class SummaryHook:
    """Prints the main results of a run and the paths of its files."""

    def __init__(self) -> None:
        self._saved: set[str] = set()

    @hook_impl
    def before_pipeline_run(self) -> None:
        """Begin with nothing."""
        self._saved = set()

    @hook_impl
    def after_dataset_saved(self, dataset_name: str) -> None:
        """Record what the run has made, in case it fails."""
        self._saved.add(dataset_name)

    @hook_impl
    def on_pipeline_error(self, catalog: Catalog) -> None:
        """Print what a run has trained that ends because gates have refused the model, so that there is none to score with."""
        if "promotion_decision" in self._saved and not catalog["promotion_decision"].load()["promote"]:
            _print(_training_lines(self._saved, catalog))

    @hook_impl
    def after_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: Catalog) -> None:
        """Print the summary of the data sets that this run made."""
        made = pipeline.all_outputs()
        lines: list[tuple[str, str]] = []
        lines += _training_lines(made, catalog)
        if "results@publish" in made:
            lines[:0] = _list_lines(catalog["results@publish"])
            lines += [*_result_lines(catalog["results@publish"]), *_overtaken_lines(catalog["results@publish"])]
        if "campaign_report" in made:
            lines += _campaign_lines(catalog["campaign_report"])
        if "health_report" in made:
            lines += _health_lines(catalog["health_report"])
        if "deliveries" in made:
            lines += _delivery_lines(catalog["deliveries"])
        _print(lines)


def _print(lines: list[tuple[str, str]]) -> None:
    if lines:
        lines += _look_lines(_in_checkout())
        width = max(len(name) for name, _ in lines)
        click.echo("\n" + "\n".join(f"  {name:<{width}}  {text}" for name, text in lines) + "\n")


def _in_checkout() -> bool:
    """Return whether this is a checkout: a job in a container has no Makefile, and its folder is removed with the container."""
    return Path("Makefile").is_file()


def _training_lines(made: Set[str], catalog: Catalog) -> list[tuple[str, str]]:
    lines: list[tuple[str, str]] = []
    if "training_metrics" in made:
        folder = _folder(catalog["promotion_decision"]) if _in_checkout() else "with the run in MLflow"
        lines += _model_lines(catalog["training_metrics"].load(), folder)
    if "promotion_decision" in made:
        lines += _promotion_lines(catalog["promotion_decision"].load(), _card(made, catalog))
    return lines


def _card(made: Set[str], catalog: Catalog) -> str | None:
    if "model_card_page" not in made or not _in_checkout():
        return None
    return shown_path(str(catalog["model_card_page"]._describe()["filepath"]))


def _promotion_lines(decision: Mapping[str, Any], card: str | None) -> list[tuple[str, str]]:
    """Return the decision; of a model that gates have refused, also what is in use instead, or the ways out."""
    lines = [("champion", decision["reason"])]
    refused = [gate["name"] for gate in decision["gates"] if not gate["passed"]]
    if decision["promote"] or not refused:
        return lines
    if decision["compared_with"]:
        lines.append(("", f"version {decision['compared_with']} stays in use"))
    else:
        lines.append(("", f"so there is no model to score with: {ways_out(refused)}"))
    return [*lines, *([("card", card)] if card else [])]


def _model_lines(metrics: dict[str, float], folder: str) -> list[tuple[str, str]]:
    text = f"test ROC AUC {metrics['test_roc_auc']:.4f}"
    if "oracle_roc_auc" in metrics:
        reached = metrics["test_roc_auc_of_oracle"]
        text += f", {reached:.1%} of the best possible {metrics['oracle_roc_auc']:.4f}"
    return [("model", text), ("plots", folder)]


def _list_lines(results: Any) -> list[tuple[str, str]]:
    """Return the page of the retention list, which leads the summary."""
    manifest = results.published
    if manifest is None:
        return []
    return [("list", shown_path(f"{results.folder(manifest['run_id'])}/retention_list.html"))]


def _result_lines(results: Any) -> list[tuple[str, str]]:
    manifest = results.published
    if manifest is None:
        return [("accounts", "none scored: all files of the table were scored before")]
    said = manifest["explained"]
    money = f" {currency}" if (currency := manifest["currency"]) else ""
    version = f"model version {manifest['model']['version']}"
    costs = f" {known}" if (known := at_costs(manifest["example_costs"])) else ""
    return [
        ("accounts", f"{manifest['rows']:,} scored, {version}; {said['at_risk']}"),
        *_kept_back_lines(manifest.get("campaign", {})),
        ("act on", said["to_act_on"].replace(" to act on:", ":")),
        ("profit", f"{manifest['expected_profit']:,.0f}{money} expected of acting on them{costs}"),
        ("scores", shown_path(f"{results.folder(manifest['run_id'])}/inference_result.csv")),
    ]


def _kept_back_lines(campaign: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what a campaign keeps back, what that can show, and which save rate is in use."""
    lines = []
    if power := campaign.get("power"):
        lines.append(("campaign", f"{campaign['campaign']}: {power['sentence']}"))
        if power["too_small"]:
            lines.append(("", power["too_small"]))
    if lately := campaign.get("not_contacted", {}).get("contacted_lately"):
        lines.append(("", f"{lately:,} accounts are not contacted, as they were lately"))
    if refused := campaign.get("not_contacted", {}).get("asked_not_to_be"):
        lines.append(("", f"{refused:,} accounts are not contacted, as they must not be"))
    if rate := campaign.get("save_rate"):
        lines.append(("save rate", rate["sentence"]))
    return lines


def _campaign_lines(report: Any) -> list[tuple[str, str]]:
    found = report.saved["metrics"]
    sentences = [each["sentence"] for each in found["campaigns"][:1]]
    warnings = [("", warning) for warning in found["warnings"]]
    return [
        *(("campaign", said) for said in sentences),
        ("calls", found["sentence"]),
        *warnings,
        ("report", shown_path(report.page)),
    ]


def _overtaken_lines(results: Any) -> list[tuple[str, str]]:
    later = results.overtaken_by()
    if later is None:
        return []
    mine = results.published["run_id"]
    return [("not current", f"the run {later} published after this one, {mine}, and is current")]


def _health_lines(report: Any) -> list[tuple[str, str]]:
    health = report.saved["metrics"]
    status = HEALTH_WORDS[health["status"]]
    findings = [("", sentence) for sentence in [*health["alarms"], *health["to_watch"]]]
    return [("health", status), *findings, ("report", shown_path(f"{report.folder(report.saved)}/health_report.html"))]


def _delivery_lines(deliveries: Any) -> list[tuple[str, str]]:
    return [("delivery", f"{each.target}: {each}") for each in deliveries.outcomes or []]


def _look_lines(in_checkout: bool) -> list[tuple[str, str]]:
    """Return where to see runs and models, the MLflow server or the command that opens it, and other make targets."""
    import mlflow

    address = str(REDACTION.within(mlflow.get_tracking_uri()))
    page = address if address.startswith("http") else "make mlflow" if in_checkout else None
    more = "; make viz: the pipelines; make notebook: a walk-through" if in_checkout else ""
    return [("look", f"{page}: runs and models{more}")] if page else []


def _folder(dataset: Any) -> str:
    return shown_path(str(Path(str(dataset._filepath)).parent))
