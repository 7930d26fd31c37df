"""Look at an unknown table and propose its schema: what `churn init` does."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import pandas as pd

from churn.config import AccountSchema, FileFormat, Label, Leakage, NumericColumn
from churn.config.source import Source
from churn.datasets.source import source_frames, with_row_number
from churn.datasets.workbooks import sheets_of
from churn.errors import AccountsError, ChurnError
from churn.stores.partitions import Partitions
from churn.survey import Answers, ColumnFacts, Proposal, facts_of, propose
from churn.survey.environment import schema_of
from churn.survey.proposal import ROW_NUMBER
from churn.tables.batches import CheckedBatches
from churn.tables.cells import as_numbers, text_of
from churn.tables.checks import check_accounts
from churn.tables.dates import read_date
from churn.tables.reading import AccountBatches, TableFile
from churn.tables.sniffing import header_names
from churn.tables.text import TextPieces
from churn.training.leakage import columns_alone

# Rows that are looked at; of a longer table they are evenly spaced.
SAMPLE_ROWS = 100_000
# First bytes in which the header is looked for.
HEADER_BYTES = 1 << 20
# Different texts in a column of numbers that are counted: many fewer make it one of categories.
MOST_TEXTS = 1000
SUBJECT = "accounts"


@dataclass(frozen=True)
class Survey:
    """A table that was looked at.

    Attributes:
        source: Where it is.
        frame: The sampled rows, as they were read.
        rows: Number of rows of the table.
        facts: What the cells of each column show.
        format: What was detected about CSV files, as parameters; None for other sources.
        notes: How the table was read, in sentences.
    """

    source: Source
    frame: pd.DataFrame
    rows: int
    facts: tuple[ColumnFacts, ...]
    format: FileFormat | None = None
    notes: tuple[str, ...] = ()

    @property
    def is_sampled(self) -> bool:
        """Whether some rows were left out."""
        return len(self.frame) < self.rows

    @property
    def few_valued(self) -> str:
        """The columns with a few values, of which one may be the label; ``none`` if there are none."""
        return ", ".join(each.name for each in self.facts if each.has_few_values) or "none"


def look_at(source: Source, given: FileFormat, credentials: dict[str, Any] | None = None) -> Survey:
    """Read a sample of a table and find out what its columns are.

    Args:
        source: The table.
        given: Parameters of the format of CSV files that are known.
        credentials: Arguments of the fsspec file system.

    Raises:
        ChurnError: If it cannot be read, or has no rows or only one column.
    """
    notes: list[str] = []
    detected = None
    if source.is_workbook and source.sheet is None:
        source, notes = _with_sheet(source, credentials)
    if source.is_database or source.is_workbook:
        frame, rows = _thinned(source_frames(source, _plain_schema([], []), credentials))
        facts = _facts(frame)
    else:
        with _quiet():
            names = _names(source, given, credentials)
            texts, _ = _thinned(source_frames(source, _plain_schema(names, [], given), credentials))
            first = {each.name: each for each in _facts(texts)}
            numbers = [name for name, each in first.items() if each.kind == "numbers" or _is_one_number(each)]
            schema = _plain_schema([name for name in names if name not in numbers], numbers, given)
            rare = _OtherTexts(numbers)
            frame, rows = _thinned(rare.of(source_frames(source, schema, credentials)))
            # Rows of descriptions are found by the numbers; without them, the other columns are as before.
            again = numbers if len(frame) == len(texts) else list(frame.columns)
            # The sign of a currency is not in the numbers any more.
            found = {name: replace(rare.facts_of(frame[name], rows), currency=first[name].currency) for name in again}
            facts = [found.get(name, first[name]) for name in frame.columns]
            detected, notes = _dialect(source, schema, given, credentials)
    if not rows:
        raise ChurnError(f"{source.shown}: the table has no rows")
    if len(facts) < 2:
        raise ChurnError(
            f"{source.shown}: the table has one column only ({facts[0].name!r}), but needs a label and what was known before. "
            "If cells are separated by another character, give it with --delimiter"
        )
    return Survey(source, frame, rows, tuple(facts), detected, tuple(notes))


class _OtherTexts:
    """Counts the texts that are no numbers in columns of numbers, over all rows of a table of which only some are kept.

    Args:
        names: The columns of numbers.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._counts: dict[str, Counter[str]] = {name: Counter() for name in names}

    def of(self, parts: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        """Yield the parts of the table as they are."""
        for part in parts:
            for name, counts in self._counts.items():
                wrong = as_numbers(part[name])[1]
                if wrong.any() and len(counts) < MOST_TEXTS:
                    counts.update(text_of(part[name][wrong])[0].dropna().tolist())
            yield part

    def facts_of(self, column: pd.Series, rows: int) -> ColumnFacts:
        """Return the facts of the kept rows of a column, to which the texts are added that only other rows have.

        Args:
            column: The kept cells.
            rows: Number of all rows.
        """
        counts = self._counts.get(str(column.name))
        if not counts or len(column) == rows:
            return facts_of(column)
        kept = set(text_of(column)[0].dropna().unique())
        rest = [
            text for text, count in counts.items() if text not in kept for _ in range(-(-count * len(column) // rows))
        ]
        found = facts_of(pd.concat([column.astype(object), pd.Series(rest, dtype=object)]).rename(column.name))
        return replace(found, rows=len(column), missing=min(found.missing, len(column)))


def _with_sheet(source: Source, credentials: dict[str, Any] | None) -> tuple[Source, list[str]]:
    sheets = sheets_of(source.path, credentials)
    if len(sheets) <= 1:
        return source, []
    chosen = max(sheets, key=lambda name: sheets[name])
    others = ", ".join(name for name in sheets if name != chosen)
    said = f"sheet '{chosen}' is read, as it has the most rows; --sheet takes another ({others})"
    return source.model_copy(update={"sheet": chosen}), [said]


def _names(source: Source, given: FileFormat, credentials: dict[str, Any] | None) -> list[str]:
    files = Partitions(source.path, credentials)
    first = files.names()[0]
    address = files.address(first)
    if address.lower().endswith(".parquet"):
        return TableFile(files.store, first, _plain_schema([], []), None).columns
    with files.store.reading(first) as file:
        pieces, text = TextPieces(file, given.encoding, HEADER_BYTES), b""
        for piece in pieces:
            text += piece
            if len(text) >= HEADER_BYTES:
                break
    lines = text.splitlines(keepends=True)
    if given.title_lines:
        text = b"".join(lines[given.title_lines :])
    try:
        return [name for name in header_names(text, given.delimiter) if name]
    except ChurnError as error:
        raise ChurnError(f"{address} cannot be read as an account table: {error}") from error


def _plain_schema(texts: Sequence[str], numbers: Sequence[str], given: FileFormat | None = None) -> AccountSchema:
    """Return a schema that names the columns, so that the header and the notation of numbers are found."""
    return AccountSchema.model_construct(
        id="(id)",
        label=Label(column="(label)"),
        numeric=tuple(NumericColumn(column=name) for name in numbers),
        categorical=tuple(texts),
        format=given or FileFormat(),
    )


def _is_one_number(facts: ColumnFacts) -> bool:
    return facts.kind == "constant" and bool(facts.lowest) and "-" not in facts.lowest[1:]


def _facts(frame: pd.DataFrame) -> list[ColumnFacts]:
    return [facts_of(frame[name]) for name in frame.columns]


def _thinned(parts: Iterator[pd.DataFrame]) -> tuple[pd.DataFrame, int]:
    """Return evenly spaced rows of a table, and the number of all its rows."""
    kept: list[pd.DataFrame] = []
    step, rows = 1, 0
    for part in parts:
        kept.append(part.iloc[-rows % step :: step])
        rows += len(part)
        while sum(map(len, kept)) > SAMPLE_ROWS:
            whole = pd.concat(kept, ignore_index=True).iloc[::2]
            kept, step = [whole], step * 2
    return pd.concat(kept, ignore_index=True), rows


def _dialect(
    source: Source, schema: AccountSchema, given: FileFormat, credentials: dict[str, Any] | None
) -> tuple[FileFormat | None, list[str]]:
    """Return what was detected in CSV files as parameters, and in words."""
    files = Partitions(source.path, credentials)
    tables = [TableFile(files.store, name, schema, None) for name in files.names()]
    found = [table.csv for table in tables if table.csv is not None]
    if not found:
        return None, []
    dialect = found[0].dialect
    layout, numbers = dialect.layout, dialect.numbers
    detected: dict[str, Any] = {}
    if layout.delimiter != ",":
        detected["delimiter"] = "tab" if layout.delimiter == "\t" else layout.delimiter
    if numbers.decimal == "," or any(each.startswith("decimal") for each in dialect.notes):
        detected["decimal"] = numbers.decimal
    if numbers.thousands:
        detected["thousands"] = numbers.thousands
    if layout.has_other_bytes and dialect.encoding is None:
        detected["encoding"] = "cp1252"
    merged = {
        **given.model_dump(exclude_defaults=True),
        **{key: detected[key] for key in detected if getattr(given, key) is None},
    }
    notes = [f"{found[0].uri} is read with: {'; '.join(dialect.notes)}"] if dialect.notes else []
    return FileFormat.model_validate(merged), notes


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep sentences about the format of files and about labels from the log: they are shown with the proposal."""
    loggers = [logging.getLogger(f"churn.tables.{name}") for name in ("file_faults", "batches")]
    before = [logger.disabled for logger in loggers]
    for logger in loggers:
        logger.disabled = True
    try:
        yield
    finally:
        for logger, was in zip(loggers, before, strict=True):
            logger.disabled = was


def proposed(survey: Survey, answers: Answers) -> Proposal:
    """Return the proposal for a table, without the columns that predict the outcome by themselves.

    Raises:
        FaultsError: See `churn.survey.propose`.
    """
    proposal = propose(survey.frame, survey.facts, answers)
    if isinstance(proposal.as_of, date) and answers.as_of is None and survey.is_sampled:
        proposal = replace(proposal, as_of=_latest(survey, proposal))
    label = proposal.label
    if label is None or label.open or not (label.positive and label.negative):
        return proposal
    if not (proposal.of("numeric") + proposal.of("categorical")):
        return proposal
    canonical = canonical_sample(survey, proposal, answers)
    if canonical is None:
        return proposal
    schema = schema_of(proposal, answers, survey.format)
    dated = {item.feature: item.column for item in schema.dates}
    given = {name for name, role in answers.roles.items() if role != "left_out"}
    for each in columns_alone(canonical, schema, Leakage()):
        name = dated.get(each.column, each.column)
        if each.leaks and name not in given:
            proposal = proposal.left_out(name, "likely", f"{each.said} (ROC AUC {each.roc_auc:.3f} alone)")
    return proposal


def canonical_sample(survey: Survey, proposal: Proposal, answers: Answers) -> pd.DataFrame | None:
    """Return the sampled rows in canonical form; None if the sample has faults, which the check of all rows reports."""
    frame = survey.frame
    if proposal.id == ROW_NUMBER and ROW_NUMBER not in frame.columns:
        frame = with_row_number(frame, ROW_NUMBER)
    try:
        return check_accounts(
            frame, schema_of(proposal, answers, survey.format), subject=SUBJECT, labelled=True
        ).accounts
    except AccountsError:
        return None


def _latest(survey: Survey, proposal: Proposal) -> date:
    """Return the latest date of the columns of dates that do not lie ahead, over all rows."""
    latest = proposal.as_of
    assert isinstance(latest, date)  # noqa: S101, the caller has looked
    columns = [each for each in proposal.of("dates") if each.facts.highest <= str(latest)]
    schema = _plain_schema([each.name for each in survey.facts], [], survey.format)
    with _quiet():
        for frame in source_frames(survey.source, schema):
            for each in columns:
                for value in frame[each.name].dropna().astype(str).unique():
                    day = read_date(value, each.facts.order).day
                    if day is not None and day > latest.toordinal():
                        latest = date.fromordinal(day)
    return latest


def check_all(survey: Survey, schema: AccountSchema, credentials: dict[str, Any] | None = None) -> int:
    """Check all rows of the table as a run does, and return the number of rows to train on.

    Raises:
        AccountsError: Lists every fault.
    """
    source = survey.source
    with _quiet():
        if source.is_database or source.is_workbook or source.row_number:
            parts = list(source_frames(source, schema, credentials))
            frame = pd.concat(parts, ignore_index=True)
            if source.row_number:
                frame = with_row_number(frame, schema.id)
            return len(check_accounts(frame, schema, subject=SUBJECT, labelled=True).accounts)
        table = AccountBatches(Partitions(source.path, credentials), schema, labelled=True)
        label = schema.label.column
        return sum(int((rows[label] >= 0).sum()) for rows in CheckedBatches(table, schema, None, SUBJECT))
