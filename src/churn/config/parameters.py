"""Typed models of every parameter block in ``conf/*/parameters_*.yml``.

Kedro builds these models from the YAML files before a run and passes them to the nodes. ``check_parameters`` validates the
whole tree at once, so that a misspelt key is refused anywhere. The descriptions have the units; ``make docs`` generates
``docs/parameters.md`` from them.
"""

from collections.abc import Iterator
from typing import Any

from pydantic import Field, ValidationError

from churn.config.blocks import Block, blocks_in, kind_of
from churn.config.delivery import Delivery
from churn.config.experiment import Contacts, Experiment, Policy
from churn.config.generation import Simulation, Staging
from churn.config.operation import Inference, Monitoring, Notifications, Prune, Watch
from churn.config.published import is_published
from churn.config.retention import Decision, Profit, Reasons
from churn.config.schema import AccountSchema
from churn.config.serving import Serve
from churn.config.training import FeatureEngineering, Promotion, Training
from churn.errors import ParametersError, closest


class Parameters(Block):
    """The whole tree of parameters."""

    accounts: AccountSchema = Field(description="The schema of the account table.")
    simulation: Simulation = Field(default=Simulation(), description="Simulated account tables.")
    staging: Staging = Field(default=Staging(), description="Snapshots of your own account table.")
    feature_engineering: FeatureEngineering = Field(default=FeatureEngineering(), description="Split and encoding.")
    training: Training = Field(default=Training(), description="Fitting, thresholds and bands.")
    promotion: Promotion = Field(default=Promotion(), description="The gates for a new model.")
    profit: Profit = Field(default=Profit(), description="Costs and benefits of acting on an account.")
    decision: Decision = Field(default=Decision(), description="The rule for which accounts to act on.")
    reasons: Reasons = Field(default=Reasons(), description="The reasons of an account and their sentences.")
    experiment: Experiment = Field(
        default=Experiment(), description="The accounts that are kept back, so that the effect of the calls is known."
    )
    contacts: Contacts = Field(default=Contacts(), description="Columns and words of the log of contacts.")
    policy: Policy = Field(default=Policy(), description="Whom not to contact, whatever it would bring.")
    inference: Inference = Field(default=Inference(), description="Scoring and publishing.")
    monitoring: Monitoring = Field(default=Monitoring(), description="Limits of the health report.")
    delivery: Delivery = Field(default=Delivery(), description="Targets of the published results.")
    watch: Watch = Field(default=Watch(), description="The trigger `churn watch`.")
    serve: Serve = Field(default=Serve(), description="The scoring service `churn serve`.")
    notifications: Notifications = Field(default=Notifications(), description="Events and retries of notifications.")
    prune: Prune = Field(default=Prune(), description="How much `churn prune` keeps.")
    model_uri: str | None = Field(
        default=None,
        min_length=1,
        description="Model to score with, on the command line only: `models:/churn/3`, `runs:/<run id>/model`, a folder, "
        "or `<experiment>/<run>/artifacts`. Empty for the champion.",
    )


def check_parameters(raw: dict[str, Any]) -> Parameters:
    """Build the typed parameters from the merged YAML and command-line values.

    Args:
        raw: Nested dictionary of parameters.

    Returns:
        The typed parameters.

    Raises:
        ParametersError: Lists every unknown, ill-typed or out-of-range parameter with its value and the remedy.
    """
    try:
        parameters = Parameters.model_validate(raw)
    except ValidationError as error:
        raise ParametersError("parameters", _explain(error)) from None
    if faults := list(_unknown_columns(parameters)):
        raise ParametersError("parameters", faults)
    return parameters


def _unknown_columns(parameters: Parameters) -> Iterator[str]:
    """Yield a sentence for each column that a block names and the schema does not."""
    accounts = parameters.accounts
    numeric = set(accounts.numeric_names)
    taken = numeric | set(accounts.text_columns)
    for ratio in parameters.feature_engineering.ratios:
        unknown = sorted({ratio.numerator, ratio.denominator} - numeric)
        if unknown:
            yield (
                f"feature_engineering.ratios: '{ratio.name}' uses {', '.join(unknown)}, which accounts.numeric does not name"
            )
        elif ratio.name in taken:
            yield f"feature_engineering.ratios: '{ratio.name}' is already the name of a column"
        taken.add(ratio.name)
    yield from _monotone_faults(parameters)
    value = parameters.profit.value_column
    named = [
        *(("profit.value_column", "numeric", column) for column in ([value] if value else [])),
        *(("promotion.segments", "categorical", column) for column in parameters.promotion.segments or ()),
        *(("training.monotone", "numeric", column) for column in parameters.training.monotone),
        *(("experiment.segments", "categorical", column) for column in parameters.experiment.segments),
    ]
    group, groups = parameters.decision.capacity_by, [*accounts.categorical, *accounts.carry]
    if group is not None and group not in groups:
        yield (
            f"decision.capacity_by = {group!r}: accounts.categorical and accounts.carry have no such column; they have "
            f"{', '.join(groups) or 'none'}"
        )
    if group is not None and is_published(group):
        yield f"decision.capacity_by = {group!r}: the retention list has a column of that name; rename it in the table"
    refusals = parameters.policy.do_not_contact
    if refusals is not None and refusals not in groups:
        yield (
            f"policy.do_not_contact = {refusals!r}: accounts.categorical and accounts.carry have no such column; they have "
            f"{', '.join(groups) or 'none'}"
        )
    columns = [accounts.id, *accounts.numeric_names, *accounts.categorical]
    for column in parameters.serve.log.redact:
        if column not in columns:
            yield f"serve.log.redact = {column!r}: accounts has no such column; it has {', '.join(columns)}"
    known = {"numeric": accounts.numeric_names, "categorical": accounts.categorical}
    for name, role, column in named:
        if column not in known[role]:
            yield f"{name} = {column!r}: accounts.{role} has no such column; it has {', '.join(known[role]) or 'none'}"


def _monotone_faults(parameters: Parameters) -> Iterator[str]:
    """Yield a sentence for each ratio that could contradict the direction of a column."""
    monotone, minimum = (
        parameters.training.monotone,
        {each.column: each.minimum for each in parameters.accounts.numeric},
    )
    for ratio in parameters.feature_engineering.ratios:
        upper, lower = monotone.get(ratio.numerator), monotone.get(ratio.denominator)
        if upper is None and lower is None:
            continue
        if upper == lower:
            yield (
                f"training.monotone: the ratio '{ratio.name}' rises with {ratio.numerator} and falls with "
                f"{ratio.denominator}, so it cannot have the direction of both; take one of them or the ratio out"
            )
        signed = [name for name in (ratio.numerator, ratio.denominator) if _may_be_negative(minimum.get(name))]
        if signed:
            yield (
                f"training.monotone: the ratio '{ratio.name}' has a direction only if {' and '.join(signed)} cannot be "
                "negative; set minimum: 0 in accounts.numeric, or take the ratio out"
            )


def _may_be_negative(minimum: float | None) -> bool:
    return minimum is None or minimum < 0


def _explain(error: ValidationError) -> Iterator[str]:
    for fault in error.errors(include_url=False):
        path = [part for part in fault["loc"] if part != "function-before"]
        name = ".".join(str(part) for part in path)
        if fault["type"] == "extra_forbidden":
            known = _fields_at(path[:-1])
            close = closest(str(path[-1]), known)
            hint = f"did you mean '{close}'?" if close else f"known here: {', '.join(sorted(known))}"
            yield f"{name}: unknown parameter; {hint}"
        elif fault["type"] == "missing":
            yield f"{name}: missing; set it in conf/<env>/parameters*.yml"
        elif fault["type"] == "value_error":
            yield f"{name}: {fault['ctx']['error']}" if name else str(fault["ctx"]["error"])
        else:
            reason = fault["msg"][0].lower() + fault["msg"][1:]
            yield f"{name} = {fault['input']!r}: {reason}"


def _fields_at(path: list[int | str]) -> list[str]:
    """Return the field names of the block at a path; positions in tuples are skipped, and kinds select a block."""
    blocks: list[Any] = [Parameters]
    for part in path:
        if isinstance(part, int):
            continue
        if len(blocks) > 1:
            blocks = [block for block in blocks if kind_of(block) == part]
        else:
            blocks = blocks_in(blocks[0].model_fields[part].annotation)
    return list(blocks[0].model_fields)
