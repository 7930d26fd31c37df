"""Parameters that are set and have no effect, because another parameter disarms them."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from churn.config.parameters import Parameters


class Idle(NamedTuple):
    """A parameter that has no effect where another has a certain value.

    Attributes:
        name: Name of the parameter.
        is_idle: Whether it has no effect.
        reason: Why, with the parameter that disarms it.
    """

    name: str
    is_idle: bool
    reason: str


def idle_parameters(parameters: Parameters, *, own_table: bool) -> dict[str, str]:
    """Return the parameters that differ from their default but have no effect.

    Args:
        parameters: All parameters.
        own_table: Whether the environment names an account table, so that none is simulated.

    Returns:
        A sentence for each, by the parameter's name, for example ``training.tuning.trials``.
    """
    rules = [
        *_trees(parameters),
        *_training(parameters),
        *_tables(parameters, own_table=own_table),
        *_operation(parameters),
        *_experiment(parameters),
    ]
    found: dict[str, str] = {}
    for name, is_idle, reason in rules:
        if is_idle and name not in found:
            value, default = _value(parameters, name)
            if value != default:
                found[name] = f"{name} = {value} has no effect: {reason}"
    return found | dict(_names_without_effect(parameters)) | dict(_actions_without_effect(parameters))


def _value(parameters: Parameters, name: str) -> tuple[Any, Any]:
    """Return the value of a parameter and its default."""
    *path, last = name.split(".")
    block: Any = parameters
    for part in path:
        block = getattr(block, part)
    return getattr(block, last), type(block).model_fields[last].get_default(call_default_factory=True)


def _trees(parameters: Parameters) -> Iterator[Idle]:
    booster = parameters.training.booster
    exact = booster.tree_method == "exact"
    for name in ("max_leaves", "max_bin", "grow_policy"):
        yield Idle(f"training.booster.{name}", exact, "training.booster.tree_method = exact ignores it")
    leaves, depth = booster.max_leaves, booster.max_depth
    if leaves and not exact:
        yield Idle(
            "training.booster.max_depth",
            not 0 < depth < leaves - 1,
            f"a tree with training.booster.max_leaves = {leaves} has at most {leaves - 1} levels; set max_leaves too, 0 for "
            "no limit",
        )
        yield Idle(
            "training.booster.max_leaves",
            depth > 0 and leaves >= 2**depth,
            f"a tree with training.booster.max_depth = {depth} has at most {2**depth:,} leaves; set max_depth too, 0 for no "
            "limit",
        )
    trees = booster.n_estimators
    yield Idle(
        "training.early_stopping_rounds",
        parameters.training.early_stopping_rounds >= trees,
        f"training.booster.n_estimators = {trees} ends the growth first",
    )


def _training(parameters: Parameters) -> Iterator[Idle]:
    training, promotion = parameters.training, parameters.promotion
    for name in ("trials", "seconds", "random_state"):
        yield Idle(
            f"training.tuning.{name}",
            not training.tuning.enabled,
            "there is no search; set training.tuning.enabled to true",
        )
    for name in ("folds", "repeats"):
        yield Idle(
            f"training.evaluation.{name}",
            training.evaluation.method != "cross_validation",
            "training.evaluation.method = hold_out has no folds; set it to cross_validation. The folds that boosters are "
            "grown on are training.folds",
        )
    yield Idle(
        "training.evaluation.confidence",
        training.evaluation.bootstrap_samples == 0,
        "training.evaluation.bootstrap_samples = 0 computes no intervals",
    )
    for name in ("segment_drop", "segment_rows"):
        yield Idle(f"promotion.{name}", promotion.segments == (), "promotion.segments names no column")
    yield Idle(
        "feature_engineering.min_category_count", not parameters.accounts.categorical, "accounts.categorical is empty"
    )


def _tables(parameters: Parameters, *, own_table: bool) -> Iterator[Idle]:
    simulation = parameters.simulation
    for field in type(simulation).model_fields:
        yield Idle(f"simulation.{field}", own_table, "the environment has source_accounts, so no table is simulated")
    for name in ("base_rate", "missing_share", "drift", "intervention"):
        yield Idle(f"simulation.{name}", simulation.signal == "none", "simulation.signal = none ignores it")
    for field in type(parameters.staging).model_fields:
        yield Idle(
            f"staging.{field}", not own_table, "the environment has no source_accounts; the tables are simulated"
        )


def _operation(parameters: Parameters) -> Iterator[Idle]:
    decision, inference = parameters.decision, parameters.inference
    notifications, watch = parameters.notifications, parameters.watch
    yield Idle(
        "decision.capacity",
        decision.rule != "capacity",
        f"decision.rule = {decision.rule} has no maximum number of accounts; set decision.rule to capacity",
    )
    yield Idle(
        "decision.capacity_by",
        decision.rule != "capacity",
        f"decision.rule = {decision.rule} has no maximum number of accounts; set decision.rule to capacity",
    )
    yield Idle("inference.rescore", not inference.incremental, "set inference.incremental to true as well")
    for name in ("cool_down", "attempts", "wait", "timeout"):
        yield Idle(f"notifications.{name}", not notifications.events, "notifications.events is empty, so none is sent")
    yield Idle("notifications.wait", notifications.attempts == 1, "notifications.attempts = 1 makes no second attempt")
    yield Idle(
        "watch.scores_within",
        watch.scores_within is not None and "scores_late" not in notifications.events,
        "notifications.events does not have scores_late",
    )
    for name in ("requests_day", "requests_version"):
        reason = "monitoring.source = results judges published results; set it to requests"
        yield Idle(f"monitoring.{name}", parameters.monitoring.source == "results", reason)
    for name in ("redact", "seconds", "queue"):
        yield Idle(f"serve.log.{name}", parameters.serve.log.sample == 0, "serve.log.sample = 0 logs no requests")
    yield Idle("watch.backoff", watch.attempts == 1, "watch.attempts = 1 makes no second attempt")


def _experiment(parameters: Parameters) -> Iterator[Idle]:
    experiment = parameters.experiment
    for name in ("salt", "least_power", "too_small"):
        yield Idle(f"experiment.{name}", experiment.holdout == 0, "experiment.holdout = 0 keeps nobody back")


def _actions_without_effect(parameters: Parameters) -> Iterator[tuple[str, str]]:
    """Yield cases of actions that never apply."""
    accounts = parameters.accounts
    found = (
        (f"reasons.texts[{place}].actions[{number}]", text, action)
        for place, text in enumerate(parameters.reasons.texts)
        for number, action in enumerate(text.actions)
    )
    for name, text, action in found:
        is_category = text.column in accounts.categorical
        if action.case in ("rose", "fell") and text.unit != "change":
            yield f"{name}.case", f"{name}.case = {action.case} has no effect: {text.column} has not the unit change"
        elif action.case is not None and action.case != "missing" and is_category != (action.case == "category"):
            kind = "categorical" if is_category else "numeric"
            yield f"{name}.case", f"{name}.case = {action.case} has no effect: {text.column} is a {kind} column"
        elif action.categories and not is_category:
            yield f"{name}.categories", f"{name}.categories has no effect: {text.column} is a numeric column"


def _names_without_effect(parameters: Parameters) -> Iterator[tuple[str, str]]:
    """Yield entries of lists that never apply: of columns that do not exist, or sentences for the other kind of column."""
    accounts = parameters.accounts
    ratios = [ratio.name for ratio in parameters.feature_engineering.ratios]
    columns = {*accounts.numeric_names, *accounts.categorical}
    strange = [name for name in parameters.training.leakage.allowed if name not in columns]
    if strange:
        name = "training.leakage.allowed"
        yield name, f"{name}: {', '.join(strange)} has no effect: accounts names no such column"
    for position, text in enumerate(parameters.reasons.texts):
        numeric = text.column in (*accounts.numeric_names, *ratios)
        without = ("category",) if numeric else ("high", "low", "rose", "fell")
        if numeric and text.unit != "change":
            without = (*without, "rose", "fell")
        for case in without:
            if text.column in {*columns, *ratios} and getattr(text, case) is not None:
                name = f"reasons.texts[{position}].{case}"
                kind = "numeric" if numeric else "categorical"
                reason = "has not the unit change" if numeric and case != "category" else f"is a {kind} column"
                yield name, f"{name} has no effect: {text.column} {reason}"
