"""The two files of an environment for a proposed schema, as commented YAML."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from churn.config import AccountSchema, FileFormat
from churn.config.retention import AMOUNTS
from churn.config.schema import MISSING_NUMBERS
from churn.config.source import Source
from churn.survey import words
from churn.survey.answers import Answers
from churn.survey.proposal import Proposal
from churn.survey.roles import ColumnProposal
from churn.survey.words import has_word

# What the amounts of ``profit`` are, beside them in the file.
MEANINGS = {
    "contact_cost": "cost of contacting an account",
    "offer_cost": "cost of the offer if an account takes it",
    "save_rate": "chance from 0 to 1 that the offer keeps an account that would leave",
    "account_value": "what keeping an account is worth, for example a year of its payments",
}
WIDTH = 110


def schema_of(proposal: Proposal, answers: Answers, given: FileFormat | None = None) -> AccountSchema:
    """Return the proposed schema.

    Args:
        proposal: The proposal; it has a label.
        answers: What a person has said.
        given: Format of the files, if they are CSV.
    """
    return AccountSchema.model_validate(accounts_of(proposal, answers, given))


def accounts_of(proposal: Proposal, answers: Answers, given: FileFormat | None) -> dict[str, Any]:
    """Return the parameter block ``accounts`` of a proposal as plain values."""
    label = proposal.label
    if label is None:
        raise ValueError("the proposal has no label")
    meant: dict[str, Any] = {"column": label.column, "positive": _one(label.positive), "negative": _one(label.negative)}
    meant |= {name: list(values) for name in ("drop", "unknown") if (values := getattr(label, name))}
    accounts: dict[str, Any] = {"id": proposal.id, "label": meant}
    accounts["numeric"] = [each.name for each in proposal.of("numeric")]
    accounts["categorical"] = [each.name for each in proposal.of("categorical")]
    if dates := proposal.of("dates"):
        accounts["dates"] = [_date(each, proposal, answers) for each in dates]
        accounts["as_of"] = proposal.as_of if isinstance(proposal.as_of, str) else str(proposal.as_of)
    if carried := proposal.of("carry"):
        accounts["carry"] = [each.name for each in carried]
    accounts["left_out"] = [
        each.name
        for each in proposal.columns
        if each.role == "left_out" or (each.role == "as_of" and each.name != accounts.get("as_of"))
    ]
    accounts["not_above"] = []
    spellings = [word for each in proposal.columns if each.role in ("numeric", "dates") for word in each.facts.words]
    if spellings:
        accounts["missing"] = list(dict.fromkeys([*(text for text in MISSING_NUMBERS if text), *spellings]))
    marks = [word for each in proposal.of("categorical") for word in each.facts.words]
    if marks:
        accounts["missing_text"] = list(dict.fromkeys(marks))
        # The spellings hold for the label too: such a row has none.
        if set(marks) & set(label.unknown):
            meant["unknown"] = list(dict.fromkeys([*label.unknown, ""]))
    if given is not None and (said := given.model_dump(exclude_defaults=True)):
        accounts["format"] = said
    return accounts


def _one(values: Sequence[str]) -> Any:
    return values[0] if len(values) == 1 else list(values)


def _date(each: ColumnProposal, proposal: Proposal, answers: Answers) -> Any:
    facts = each.facts
    order = answers.orders.get(each.name) or facts.order
    if order is None and facts.is_order_open:
        order = "day"
    known: dict[str, Any] = {"column": each.name}
    if order is not None:
        known["order"] = order
    ahead = not isinstance(proposal.as_of, str) and facts.highest > str(proposal.as_of)
    if has_word(each.name, words.ENDS) or ahead:
        known["future"] = True
    return known if len(known) > 1 else each.name


def globals_text(env: str, source: Source) -> str:
    """Return the content of ``globals.yml``: where the table is and where the results go."""
    path, secret = source.path, ""
    if source.is_database and (found := re.match(r"([^:]+://[^:/@]+):([^@]+)@", path)):
        path = path.replace(f":{found[2]}@", f":${{env:{password_variable(env)}}}@", 1)
        secret = f"# The password is the variable {password_variable(env)}, in the environment or in .env.\n"
    fields: dict[str, Any] = {"path": path, **source.model_dump(exclude={"path"}, exclude_defaults=True)}
    where = _scalar(path) if len(fields) == 1 else _mapping(fields)
    return f"""\
# Where the table of the environment '{env}' is, and where its results go. churn init wrote this file; change what you want.
stores:
  staging: data/{env}/data-staging
  results: data/{env}/ml-result

{secret}source_accounts: {where}

model:
  experiment: churn_model_{env}
  name: churn_{env}
"""


def password_variable(env: str) -> str:
    """Return the name of the variable that holds the password of the database of an environment."""
    return f"CHURN_{re.sub(r'[^A-Z0-9]', '_', env.upper())}_PASSWORD"


def parameters_text(proposal: Proposal, answers: Answers, given: FileFormat | None, shown: str) -> str:
    """Return the content of ``parameters.yml``: the schema of the table, costs and sentences.

    Args:
        proposal: The proposal; it has a label.
        answers: What a person has said.
        given: Format of the files, if they are CSV.
        shown: Path or URL of the table.
    """
    return "\n".join(_lines(proposal, answers, accounts_of(proposal, answers, given), shown)) + "\n"


def _lines(proposal: Proposal, answers: Answers, accounts: dict[str, Any], shown: str) -> Iterator[str]:
    of = {each.name: each for each in proposal.columns}

    def noted(name: str) -> str:
        each = of.get(name)
        return "" if each is None else f"{each.sure}: {each.why}"

    yield f"# Schema of {_inline(shown)}, proposed by churn init. docs/bring-your-own-table.md describes every key."
    yield "accounts:"
    row = "the number of the row, as the table has no id: another table has other accounts under these numbers"
    yield _with(f"  id: {_scalar(accounts['id'])}", noted(accounts["id"]) or row)
    label = dict(accounts["label"])
    yield "  label:"
    yield _with(f"    column: {_scalar(label['column'])}", noted(label["column"]))
    meanings = {"positive": "churned", "negative": "stayed", "drop": "neither", "unknown": "not known yet"}
    for key, meaning in meanings.items():
        if key in label:
            yield _with(f"    {key}: {_value(label[key])}", meaning)
    for role in ("numeric", "categorical", "dates"):
        if role not in accounts:
            continue
        if not accounts[role]:
            yield f"  {role}: []"
            continue
        yield f"  {role}:"
        for item in accounts[role]:
            name = item if isinstance(item, str) else item["column"]
            yield _with(f"    - {_value(item)}", noted(name))
    if "as_of" in accounts:
        yield _with(
            f"  as_of: {_scalar(accounts['as_of'])}", f"the time since the dates is counted to it; {proposal.as_of_why}"
        )
    for role, title in (("carry", "shown on the retention list, not used by the model"), ("left_out", "not used")):
        if not accounts.get(role):
            if role == "left_out":
                yield "  left_out: []"
            continue
        yield f"  {role}:  # {title}"
        for name in accounts[role]:
            yield _with(f"    - {_scalar(name)}", noted(name) + _suspicion(of.get(name)))
    yield "  not_above: []"
    for key in ("missing", "missing_text", "format"):
        if key in accounts:
            yield f"  {key}: {_value(accounts[key])}"
    yield ""
    yield "feature_engineering:"
    yield "  ratios: []"
    yield ""
    yield from _money(proposal, answers)
    yield ""
    yield "reasons:"
    yield "  texts: []  # sentences of your own: docs/retention-list.md"
    if accounts.get("as_of") and not isinstance(proposal.as_of, str):
        yield ""
        yield "inference:"
        yield _with(
            f"  as_of: {_scalar(accounts['as_of'])}", "date of the table that is scored; set it with each new table"
        )


def _suspicion(each: ColumnProposal | None) -> str:
    return "; move it to a role above if it is known when accounts are scored" if each and each.suspected else ""


def _money(proposal: Proposal, answers: Answers) -> Iterator[str]:
    unit = f", in {proposal.currency}" if proposal.currency else ""
    fields: list[str] = []
    if proposal.currency:
        fields.append(f"  currency: {_scalar(proposal.currency)}")
    fields += [
        _with(f"  {name}: {answers.amounts[name]:g}", f"{MEANINGS[name]}{unit if name != 'save_rate' else ''}")
        for name in AMOUNTS
        if name in answers.amounts
    ]
    # A value that is only guessed is not used: the order of the list would depend on it.
    if proposal.value and proposal.value_sure in ("given", "sure", "likely"):
        fields.append(
            _with(f"  value_column: {_scalar(proposal.value)}", f"value of each account; {proposal.value_sure}")
        )
    yield "# Amounts of money decide about the order of the list. Those that are not set are examples (docs/profit.md)."
    if not any("value_column" in line for line in fields):
        fields.append(_with("  value_column: null", "column with the value of each account, in place of account_value"))
    yield "profit:"
    yield from fields
    for name in AMOUNTS:
        if name not in answers.amounts:
            yield f"  # {name}: ...  # {MEANINGS[name]}{unit if name != 'save_rate' else ''}"


def _with(line: str, comment: str) -> str:
    comment = _inline(comment)
    if not comment:
        return line
    if len(line) + len(comment) + 4 > 2 * WIDTH:
        comment = comment[: 2 * WIDTH - len(line) - 7] + "..."
    return f"{line}  # {comment}"


def _inline(text: str) -> str:
    return " ".join(re.sub(r"[^\S ]|[\x00-\x1f\x7f\u2028\u2029]", " ", text).split())


def _scalar(value: Any) -> str:
    # As an item of a list, so that what is special inside brackets is quoted too.
    dumped: str = yaml.safe_dump([value], default_flow_style=True, allow_unicode=True, width=10**9).strip()
    return dumped[1:-1]


def _mapping(fields: Mapping[str, Any]) -> str:
    return "{" + ", ".join(f"{key}: {_value(value)}" for key, value in fields.items()) + "}"


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return _mapping(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_scalar, value)) + "]"
    return _scalar(value)
