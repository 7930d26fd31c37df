"""The summary after a run."""

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

Catalog = CatalogProtocol[str, AbstractDataset[Any, Any]]


class SummaryHook:
    """Prints the main results of a run and the paths of its files."""

    @hook_impl
    def after_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: Catalog) -> None:
        """Print the summary of the data sets that this run made."""
        made = pipeline.all_outputs()
        lines: list[tuple[str, str]] = []
        # A job in a container has no Makefile, and its folder is removed with the container.
        in_checkout = Path("Makefile").is_file()
        if "training_metrics" in made:
            folder = _folder(catalog["promotion_decision"]) if in_checkout else "with the run in MLflow"
            lines += _model_lines(catalog["training_metrics"].load(), folder)
        if "promotion_decision" in made:
            lines.append(("champion", catalog["promotion_decision"].load()["reason"]))
        if "results@publish" in made:
            lines[:0] = _list_lines(catalog["results@publish"])
            lines += [*_result_lines(catalog["results@publish"]), *_overtaken_lines(catalog["results@publish"])]
        if "campaign_report" in made:
            lines += _campaign_lines(catalog["campaign_report"])
        if "health_report" in made:
            lines += _health_lines(catalog["health_report"])
        if "deliveries" in made:
            lines += _delivery_lines(catalog["deliveries"])
        if lines:
            lines += _look_lines(in_checkout)
            width = max(len(name) for name, _ in lines)
            click.echo("\n" + "\n".join(f"  {name:<{width}}  {text}" for name, text in lines) + "\n")


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
