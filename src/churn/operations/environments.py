"""Environments for account tables: write one, and say what a table would change in one."""

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from churn.config import AccountSchema
from churn.config.source import Source
from churn.errors import AccountsError, ChurnError
from churn.operations.onboarding import Survey, canonical_sample, check_all, look_at
from churn.reporting.data_report import render_data_report
from churn.survey import Answers, Proposal, propose
from churn.survey.environment import globals_text, parameters_text, schema_of
from churn.survey.proposal import ROW_NUMBER
from churn.survey.report import SetAside, data_report


def environment_name(source: Source) -> str:
    """Return the name of an environment for a source: of the file, sheet or table."""
    if source.is_database:
        stem = (source.table or "query").rpartition(".")[2]
    else:
        stem = re.sub(
            r"\.(csv|tsv|parquet|xlsx|xlsm|zip|gz|zst)\b.*$",
            "",
            Path(source.path.rstrip("/")).name,
            flags=re.IGNORECASE,
        )
    name = re.sub(r"[^a-z0-9]+", "_", stem.lower()).strip("_")
    return name or "accounts"


def check_environment(conf: Path, env: str) -> None:
    """Check that an environment can be written.

    Raises:
        ChurnError: If the name cannot be one, or the environment exists.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,60}", env):
        raise ChurnError(f"--env {env}: the name of an environment has letters, digits, - and _ only")
    folder = conf / env
    if env in ("base", "local") or (folder.exists() and any(folder.iterdir())):
        raise ChurnError(
            f"{folder} exists, and nothing is overwritten; take another name with --env, remove the folder, or see with --check "
            "what a new file would change"
        )


def write_environment(
    conf: Path, env: str, survey: Survey, proposal: Proposal, answers: Answers, relative: Callable[[str], str]
) -> tuple[Path, Path]:
    """Write the two files of an environment, both or none, and return their paths.

    Args:
        conf: Folder of the configuration.
        env: Name of the environment.
        survey: The table.
        proposal: Its schema.
        answers: What a person has said.
        relative: Function that shortens a path.

    Raises:
        ChurnError: If the environment exists.
    """
    check_environment(conf, env)
    source = survey.source.model_copy(update={"row_number": proposal.id == ROW_NUMBER})
    if not source.is_database:
        source = source.model_copy(update={"path": relative(source.path)})
    texts = {
        "globals.yml": globals_text(env, source),
        "parameters.yml": parameters_text(proposal, answers, survey.format, source.shown),
    }
    aside = conf / f".{env}.part"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        for name, text in texts.items():
            (aside / name).write_text(text, encoding="utf-8")
        if (conf / env).exists():
            (conf / env).rmdir()
        aside.rename(conf / env)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return conf / env / "globals.yml", conf / env / "parameters.yml"


def changes(source: Source, accounts: AccountSchema, credentials: dict[str, Any] | None = None) -> list[str]:
    """Return what a table has that the schema of an environment does not fit, one sentence each.

    Args:
        source: The table.
        accounts: The schema.
        credentials: Arguments of the fsspec file system.

    Raises:
        ChurnError: If the table cannot be read.
    """
    survey = look_at(source, accounts.format, credentials)
    names = [each.name for each in survey.facts]
    roles = {
        **dict.fromkeys((item.column for item in accounts.numeric), "numeric"),
        **dict.fromkeys(accounts.categorical, "categorical"),
        **dict.fromkeys((item.column for item in accounts.dates), "dates"),
        **dict.fromkeys(accounts.carry, "carry"),
        **dict.fromkeys(accounts.left_out, "left_out"),
    }
    found = [
        f"{name}: the table has no such column, which is {_in_words(role)}"
        for name, role in roles.items()
        if name not in names
    ]
    needed = {accounts.label.column: "the label"} | ({} if source.row_number else {accounts.id: "the id"})
    found += [
        f"{name}: the table has no such column, which is {role}" for name, role in needed.items() if name not in names
    ]
    label = accounts.label
    known = label.column in names
    answers = Answers(
        id=accounts.id if accounts.id in names else ROW_NUMBER,
        label=label.column if known else None,
        positive=label.positives,
        negative=label.negatives or (),
        drop=label.drop,
        unknown=label.unknown,
        as_of=None if accounts.as_of is None else str(accounts.as_of),
    )
    proposal = propose(survey.frame, survey.facts, answers)
    if known and proposal.label is not None:
        found += [f"{label.column}: {value!r} is a value without a meaning" for value in proposal.label.open]
    for each in proposal.columns:
        if each.name in roles:
            if each.facts.kind == "empty" and roles[each.name] in ("numeric", "categorical", "dates"):
                found.append(f"{each.name}: has no value any more; it is {_in_words(roles[each.name])}")
            elif {roles[each.name], each.role} in (
                {"numeric", "categorical"},
                {"numeric", "dates"},
                {"dates", "categorical"},
            ):
                found.append(
                    f"{each.name}: looks like {_in_words(each.role)} now ({each.why}); it is {_in_words(roles[each.name])}"
                )
        elif each.name not in (accounts.id, label.column, accounts.as_of):
            found.append(f"{each.name}: is new; it looks like {_in_words(each.role)} ({each.why})")
    if not found:
        try:
            check_all(replace(survey, source=source), accounts)
        except AccountsError as error:
            found += error.faults
    return found


def _in_words(role: str) -> str:
    return {
        "numeric": "a numeric column",
        "categorical": "a categorical column",
        "dates": "a date",
        "carry": "carried into the list",
        "left_out": "left out",
    }.get(role, role)


def write_report(file: Path, survey: Survey, proposal: Proposal, answers: Answers) -> None:
    """Write the data report of a table; see `churn.survey.report`."""
    frame = canonical_sample(survey, proposal, answers)
    if frame is None:
        return
    schema = schema_of(proposal, answers, survey.format)
    report = data_report(
        frame,
        schema,
        name=survey.source.shown,
        rows=survey.rows,
        is_sampled=survey.is_sampled,
        notes=survey.notes,
        set_aside=[
            SetAside(each.name, each.role, each.why, each.suspected)
            for each in proposal.columns
            if each.role in ("carry", "left_out")
        ],
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(render_data_report(report), encoding="utf-8")
