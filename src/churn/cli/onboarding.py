"""The command `churn init`: from an unknown table to an environment."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import click

from churn.cli.commands import cli, explained
from churn.config import Label, Profit
from churn.config.command_options import conf_source_option
from churn.config.loader import configuration
from churn.config.retention import AMOUNTS
from churn.config.source import Source, is_database
from churn.errors import ChurnError, FaultsError

if TYPE_CHECKING:
    from churn.operations.onboarding import Survey
    from churn.survey import Answers, Proposal
    from churn.survey.answers import Role

WIDEST = 160


@cli.command()
@click.argument("source")
@click.option("--env", help="Name of the environment; by default that of the file, sheet or table.")
@click.option("--sheet", help="Sheet of a workbook; by default the one with the most rows.")
@click.option("--table", help="Table of the database whose connection URL is SOURCE.")
@click.option("--query", help="Query of the database, in place of a table.")
@click.option("--delimiter", help="Character between the cells of CSV files; detected by default.")
@click.option("--decimal", type=click.Choice([".", ","]), help="Decimal separator of CSV files; detected by default.")
@click.option("--encoding", help="Encoding of CSV files; detected by default.")
@click.option("--id", "id_column", help="Column that identifies an account.")
@click.option("--label", help="Column with the outcome.")
@click.option("--positive", multiple=True, help="Value of the label that means churned; may be repeated.")
@click.option("--negative", multiple=True, help="Value of the label that means stayed; may be repeated.")
@click.option("--drop", multiple=True, help="Value of the label of rows in neither class; may be repeated.")
@click.option("--unknown", multiple=True, help="Value of the label that means not known yet; may be repeated.")
@click.option(
    "--date",
    "dates",
    multiple=True,
    help="Column of dates, perhaps with what comes first: joined:day; may be repeated.",
)
@click.option("--as-of", help="Date of the snapshot (YYYY-MM-DD), or column with it; by default the latest date.")
@click.option("--numeric", multiple=True, help="Column of numbers; may be repeated.")
@click.option("--categorical", multiple=True, help="Column of categories; may be repeated.")
@click.option("--carry", multiple=True, help="Column to show on the retention list; may be repeated.")
@click.option("--leave-out", multiple=True, help="Column that is not used; may be repeated.")
@click.option("--value", help="Numeric column with the value of an account.")
@click.option("--currency", help="Code of the currency of all amounts, for example EUR.")
@click.option("--contact-cost", type=click.FloatRange(min=0), help="Cost of contacting an account.")
@click.option("--offer-cost", type=click.FloatRange(min=0), help="Cost of the offer if an account takes it.")
@click.option(
    "--save-rate", type=click.FloatRange(0, 1), help="Chance that the offer keeps an account that would leave."
)
@click.option("--account-value", type=click.FloatRange(min=0, min_open=True), help="Value of keeping an account.")
@click.option("--yes", is_flag=True, help="Take the proposals and ask nothing.")
@click.option(
    "--check", "only_check", is_flag=True, help="Say what the table would change in the environment; write nothing."
)
@click.option(
    "--report", type=click.Path(path_type=Path, dir_okay=False), help="Also write the data report to this file (.html)."
)
@conf_source_option
@explained
def init(source: str, **options: Any) -> None:
    """Propose an environment for the account table in SOURCE, and write its two YAML files.

    SOURCE is a CSV or Parquet file, a folder of them, a workbook (.xlsx), or the connection URL of a database. Every column gets
    a role, with how sure that is and why. What the table does not say is asked on a terminal; every question is also an option.
    Nothing is overwritten. docs/bring-your-own-table.md describes what is proposed.
    """
    from churn.operations import environments, onboarding
    from churn.survey.environment import password_variable, schema_of

    conf, project = _places(options["conf_source"])
    table = _source(source, options)
    env = options["env"] or environments.environment_name(table)
    if options["only_check"]:
        _check(table, env, conf, options)
        return
    environments.check_environment(conf, env)
    answers = _answers(options)
    survey = onboarding.look_at(table, _format(options))
    proposal = onboarding.proposed(survey, answers)
    asks = not options["yes"] and sys.stdin is not None and sys.stdin.isatty()
    if asks:
        answers = _asked(survey, proposal, answers)
        proposal = onboarding.proposed(survey, answers)
    _show(survey, proposal)
    _check_complete(survey, proposal, answers, asks=asks or options["yes"])
    schema = schema_of(proposal, answers, survey.format)
    checked = replace(
        survey, source=survey.source.model_copy(update={"row_number": proposal.id not in survey.frame.columns})
    )
    rows = onboarding.check_all(checked, schema)
    if options["report"]:
        environments.write_report(options["report"], survey, proposal, answers)
    if asks and not click.confirm(f"Write the environment '{env}'?", default=True):
        click.echo("Nothing was written.")
        return
    places = environments.write_environment(conf, env, survey, proposal, answers, lambda path: _relative(path, project))
    click.echo(
        f"\n{rows:,} rows are ready to train on. Written: {' and '.join(_relative(str(place), Path.cwd()) for place in places)}"
    )
    if survey.source.is_database and "${env:" in places[0].read_text(encoding="utf-8"):
        click.echo(f"Set {password_variable(env)} in the environment or in .env: passwords are in no YAML file.")
    click.echo(f"Next:  kedro run --env {env}")


def _places(conf_source: str | None) -> tuple[Path, Path]:
    loader, project = configuration("base", conf_source)
    return Path(loader.conf_source).absolute(), project


def _source(source: str, options: dict[str, Any]) -> Source:
    from churn.datasets.databases import only_table

    fields = {name: options[name] for name in ("sheet", "table", "query") if options[name]}
    if is_database(source) and not {"table", "query"} & fields.keys():
        click.echo(f"The database has one table, {fields.setdefault('table', only_table(source))}")
    return Source.of({"path": source, **fields})


def _format(options: dict[str, Any]) -> Any:
    from pydantic import ValidationError

    from churn.config import FileFormat

    given = {name: options[name] for name in ("delimiter", "decimal", "encoding") if options[name]}
    try:
        return FileFormat.model_validate(given)
    except ValidationError as error:
        raise FaultsError("options", [f"--{fault['loc'][0]}: {fault['msg']}" for fault in error.errors()]) from None


def _answers(options: dict[str, Any]) -> "Answers":
    from churn.survey import Answers

    roles: dict[str, Role] = {}
    orders: dict[str, Literal["day", "month"]] = {}
    faults = []

    def add(flag: str, role: "Role", names: tuple[str, ...]) -> None:
        for name in names:
            if roles.setdefault(name, role) != role:
                faults.append(f"--{flag} {name}: the column was given another role too")

    dates = []
    for each in options["dates"]:
        name, _, order = each.rpartition(":")
        if name and order in ("day", "month"):
            orders[name] = cast("Literal['day', 'month']", order)
        else:
            name = each
        dates.append(name)
    add("date", "dates", tuple(dates))
    for flag, role in (
        ("numeric", "numeric"),
        ("categorical", "categorical"),
        ("carry", "carry"),
        ("leave-out", "left_out"),
    ):
        add(flag, cast("Role", role), options[flag.replace("-", "_")])
    for flag in ("id_column", "label"):
        if options[flag] in roles:
            faults.append(f"--{flag.removesuffix('_column')} {options[flag]}: the column was given another role too")
    if faults:
        raise FaultsError("options", faults)
    return Answers(
        id=options["id_column"],
        label=options["label"],
        positive=options["positive"],
        negative=options["negative"],
        drop=options["drop"],
        unknown=options["unknown"],
        roles=roles,
        orders=orders,
        as_of=options["as_of"],
        value=options["value"],
        currency=options["currency"].upper() if options["currency"] else None,
        amounts={name: options[name] for name in AMOUNTS if options[name] is not None},
    )


def _asked(survey: "Survey", proposal: "Proposal", answers: "Answers") -> "Answers":
    """Ask what the table does not say: the label, what counts as churned, currency and costs."""
    label = proposal.label
    names = [each.name for each in survey.facts]
    if answers.label is None:
        click.echo(f"Columns with a few values: {survey.few_valued}")
        default = label.column if label else None
        column = click.prompt(
            "Which column says who churned?", default=default, type=click.Choice(names), show_choices=False
        )
        answers = replace(answers, label=column)
    facts = next(each for each in survey.facts if each.name == answers.label)
    values = [value for value, _ in facts.values]
    if not answers.positive:
        same = label is not None and label.column == answers.label
        default = ", ".join(label.positive) if same and label else None
        shown = ", ".join(f"{value} ({count:,})" for value, count in facts.values) or "more than a dozen"
        click.echo(f"Values of {answers.label}: {shown}")
        said = click.prompt(
            "Which of them mean churned? (several with commas)", default=default, value_proc=_values_of(values)
        )
        answers = replace(answers, positive=said)
    rest = [value for value in values if Label.key(value) not in {Label.key(each) for each in answers.positive}]
    if not answers.negative and len(rest) > 1:
        known = [value for value in (label.negative if label else ()) if value in rest]
        said = click.prompt(
            "Which mean stayed? (rows with other values are left out)",
            default=", ".join(known) or None,
            value_proc=_values_of(rest),
        )
        others = tuple(value for value in rest if value not in said and value not in (*answers.drop, *answers.unknown))
        answers = replace(answers, negative=said, drop=(*answers.drop, *others))
    if answers.currency is None:
        said = click.prompt(
            "Currency of all amounts", default=proposal.currency or "", show_default=bool(proposal.currency)
        )
        answers = replace(answers, currency=said.strip().upper() or None)
    amounts = dict(answers.amounts)
    if not amounts:
        from churn.survey.environment import MEANINGS

        click.echo("Costs decide whom a call pays for. Without them, examples are used, and all pages say so.")
        for name in AMOUNTS:
            said = click.prompt(
                f"{MEANINGS[name].capitalize()}", default="", show_default=False, value_proc=_amount_of(name)
            )
            if said is not None:
                amounts[name] = said
    return replace(answers, amounts=amounts)


def _values_of(known: list[str]) -> Any:
    def read(text: str) -> tuple[str, ...]:
        keys = {Label.key(value): value for value in known}
        said = [part.strip() for part in text.split(",")] if Label.key(text) not in keys else [text.strip()]
        for part in said:
            if Label.key(part) not in keys:
                raise click.BadParameter(f"{part!r} is not a value of the column; it has {', '.join(known)}")
        return tuple(keys[Label.key(part)] for part in said)

    return read


def _amount_of(name: str) -> Any:
    def read(text: str) -> float | None:
        if not text.strip():
            return None
        try:
            number = float(text.replace(",", "."))
            Profit.model_validate({name: number})
        except ValueError:
            raise click.BadParameter("a number is expected, or nothing") from None
        return number

    return read


def _check_complete(survey: "Survey", proposal: "Proposal", answers: "Answers", *, asks: bool) -> None:
    """Check that everything that a run needs is known.

    Raises:
        FaultsError: Lists what is not, each with the option that says it.
    """
    from churn.survey.label import label_faults
    from churn.survey.proposal import ROW_NUMBER
    from churn.survey.words import CHURN, has_word

    faults = []
    label = proposal.label
    if label is None:
        faults.append(
            f"no column seems to say who churned; name it with --label (columns with a few values: {survey.few_valued})"
        )
        faults += [
            f"{each.name}: has one value only, {each.examples[0]!r}; a model needs accounts that churned and accounts that stayed"
            for each in survey.facts
            if each.kind == "constant" and has_word(each.name, CHURN)
        ]
    else:
        missing = next(each.facts.missing for each in proposal.columns if each.name == label.column)
        faults += label_faults(label, answers, missing)
    for each in proposal.of("id"):
        again = each.facts.present - each.facts.different
        if again or each.facts.missing:
            what = f"{again:,} rows repeat an earlier id" if again else f"{each.facts.missing:,} rows have no id"
            faults.append(
                f"{each.name}: {what}; an account has one row: keep the latest of each, name another column with --id, or number "
                f"the rows with --id {ROW_NUMBER}"
            )
    if not (proposal.of("numeric") + proposal.of("categorical") + proposal.of("dates")):
        faults.append("no column is left to learn from; give some a role with --numeric, --categorical or --date")
    if faults:
        raise FaultsError(f"{survey.source.shown}", faults)
    if not asks:
        raise ChurnError(
            "nothing was written: no one can be asked here; add --yes to take the proposals, or --check to look only"
        )


TITLES = {
    "id": "id",
    "label": "label",
    "numeric": "number",
    "categorical": "category",
    "dates": "date",
    "as_of": "date of the row",
    "carry": "carry",
    "left_out": "left out",
}


def _show(survey: "Survey", proposal: "Proposal") -> None:
    """Print what was found, column by column."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=min(max(Console().width, 100), WIDEST), highlight=False)
    sampled = f", {len(survey.frame):,} of them looked at" if survey.is_sampled else ""
    click.echo(f"{survey.source.shown}: {survey.rows:,} rows{sampled}, {len(survey.facts):,} columns")
    for note in survey.notes:
        click.echo(note)
    listed = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("column", "role", "how sure", "why"):
        listed.add_column(title, overflow="fold")
    for each in proposal.columns:
        role = TITLES[each.role] + (" (!)" if each.suspected else "")
        listed.add_row(Text(each.name), Text(role), Text(each.sure), Text(each.why))
    console.print(listed)
    label = proposal.label
    if label is not None:
        meanings = (
            ("churned", label.positive),
            ("stayed", label.negative),
            ("left out", label.drop),
            ("not known yet", label.unknown),
            ("not clear", label.open),
        )
        shown = [f"{name}: {', '.join(value or 'no value' for value in values)}" for name, values in meanings if values]
        click.echo(f"Label {label.column}: {'; '.join(shown)}")
    if proposal.id not in survey.frame.columns:
        click.echo(
            "Id: the number of the row, as no column can be one; another table has other accounts under these numbers"
        )
    if proposal.as_of is not None:
        click.echo(f"Date of the snapshot: {proposal.as_of} ({proposal.as_of_why}); --as-of sets another")
    if proposal.value:
        click.echo(f"Value of an account: {proposal.value} ({proposal.value_sure})")
    if proposal.currency:
        click.echo(f"Currency: {proposal.currency}")
    if suspected := [each.name for each in proposal.columns if each.suspected]:
        click.echo(f"(!) Left out, because they seem to know the outcome: {', '.join(suspected)}")


def _check(source: Any, env: str, conf: Path, options: dict[str, Any]) -> None:
    """Say what the table would change in an environment that exists; the exit code is 1 if anything."""
    from churn.config import check_parameters
    from churn.operations import environments

    loader, _ = configuration(env, str(conf))
    if known := loader["globals"].get("source_accounts"):
        # A newer file of the same kind: its sheet, and whether its rows are numbered, are as before.
        before = Source.of(known)
        sheet = source.sheet or (before.sheet if source.is_workbook else None)
        source = source.model_copy(update={"row_number": before.row_number, "sheet": sheet})
    accounts = check_parameters(loader["parameters"]).accounts
    changes = environments.changes(source, accounts)
    if not changes:
        click.echo(f"{source.shown} fits the environment '{env}': nothing would change.")
        return
    click.echo(f"{source.shown} and the environment '{env}' differ:")
    for change in changes:
        click.echo(f"  - {change}")
    raise SystemExit(1)


def _relative(path: str, folder: Path) -> str:
    if "://" in path:
        return path
    full = Path(path).absolute()
    return full.relative_to(folder).as_posix() if full.is_relative_to(folder) else full.as_posix()
