"""Read one CSV file of a table, whatever its dialect."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import IO, TYPE_CHECKING

from churn.config import AccountSchema, FileFormat
from churn.errors import ChurnError, FaultsError
from churn.tables.dialect import Layout, evidence_of, layout_of, placeholders
from churn.tables.file_faults import FileFaults, ParsedBlock, say
from churn.tables.files import FileStore
from churn.tables.numbers import Evidence, Numbers
from churn.tables.parallel import cores, in_order
from churn.tables.parsing import WrongLength, parsed
from churn.tables.records import Block, blocks
from churn.tables.text import FALLBACK, UNREADABLE, TextPieces, is_utf8, mended, with_line_feeds

if TYPE_CHECKING:
    import pyarrow as pa

# Bytes of the pieces in which a CSV file is read, and of the first part by which its dialect is found out.
PIECE_BYTES = 2 << 20
SAMPLE_BYTES = 1 << 20


@dataclass(frozen=True)
class Dialect:
    """How a CSV file is written.

    Attributes:
        layout: Where its cells are.
        encoding: Its encoding; None for UTF-8, perhaps with other bytes.
        has_returns: Whether its lines end in carriage returns only.
        is_small: Whether the part by which the dialect was found out is the whole file.
        numbers: How its numbers are written.
        notes: What differs from a plain file and was not given by the parameters, in words.
    """

    layout: Layout
    encoding: str | None
    has_returns: bool
    is_small: bool
    numbers: Numbers
    notes: tuple[str, ...]

    def parameters(self, given: FileFormat) -> str:
        """Return what was detected as parameters in YAML; empty if nothing differs from a plain file.

        Args:
            given: The parameters that were given, which are left out.
        """
        layout, numbers = self.layout, self.numbers
        found = {
            "delimiter": "tab" if layout.delimiter == "\t" else layout.delimiter.replace(",", ""),
            "decimal": numbers.decimal if any(note.startswith("decimal") for note in self.notes) else "",
            "thousands": numbers.thousands,
            "encoding": self.encoding or (FALLBACK if layout.has_other_bytes else ""),
            "title_lines": layout.title_lines,
            "description_rows": layout.description_rows,
        }
        new = [f"{name}: {value!r}" for name, value in found.items() if value and getattr(given, name) is None]
        return f"{{{', '.join(new)}}}" if new else ""


class CsvFile:
    """A CSV file of a table.

    Attributes:
        uri: Its path or URL.
    """

    def __init__(self, store: FileStore, name: str, schema: AccountSchema) -> None:
        """Declare the file; nothing is read yet.

        Args:
            store: Store that holds the file.
            name: Its name in the store.
            schema: Schema of the table, with the parameters of its format.
        """
        self._store, self._name, self._schema = store, name, schema
        self.uri = store.address(name)

    @property
    def detected(self) -> str:
        """What differs from a plain file and was not given, in words and as parameters; empty if there is nothing."""
        parameters = self.dialect.parameters(self._schema.format)
        more = f". As parameters, to confirm or correct: accounts.format: {parameters}" if parameters else ""
        return "; ".join(self.dialect.notes) + more

    @property
    def columns(self) -> list[str]:
        """Names of the columns; raises the errors of `dialect`."""
        return [name for name in self.dialect.layout.names if name]

    @property
    def is_common(self) -> bool:
        """Whether any reader of CSV files that is told the delimiter and the columns reads the same cells."""
        given, dialect = self._schema.format, self.dialect
        is_utf8 = dialect.encoding is None and not dialect.has_returns
        return is_utf8 and dialect.layout.is_common and dialect.numbers.are_plain and not given.line_breaks

    @property
    def has_line_breaks(self) -> bool:
        """Whether cells have line breaks within quotes, as far as the first rows and the parameters say."""
        return self._schema.format.line_breaks or self.dialect.layout.has_line_breaks

    @cached_property
    def dialect(self) -> Dialect:
        """How the file is written.

        Raises:
            ChurnError: If the file has no header or is damaged, or its numbers have two meanings.
        """
        given = self._schema.format
        with self._store.reading(self._name) as file:
            text = TextPieces(file, given.encoding, PIECE_BYTES)
            sample, whole = _first(text, SAMPLE_BYTES)
        # Some programs end such a file with both.
        has_returns = sample.count(b"\r") - sample.count(b"\r\n") > sample.count(b"\n")
        if has_returns:
            sample = sample.replace(b"\r", b"\n")
        try:
            layout, rows = layout_of(sample, self._schema, whole=whole)
        except ChurnError as error:
            raise ChurnError(f"{self.uri} cannot be read as an account table: {error}") from error
        notes = list(layout.notes)
        if text.encoding is not None and given.encoding is None:
            notes.append(f"encoding {text.encoding}")
        evidence = evidence_of(rows, self._schema)
        if evidence.is_undecided(given):
            if layout.delimiter == "," and set(evidence.open) == {"."}:
                notes.append(f"decimal point: {evidence.open['.']} could also be a whole number")
            else:
                evidence = self._decided(Dialect(layout, text.encoding, has_returns, whole, Numbers(), ()), evidence)
        numbers = evidence.numbers(given)
        notes += numbers.described(given)
        return Dialect(layout, text.encoding, has_returns, whole, numbers, tuple(notes))

    def _decided(self, dialect: Dialect, evidence: Evidence) -> Evidence:
        """Return what the whole file says about its numbers, where the first rows do not say enough."""
        numeric = {name for name in self._schema.numeric_names if name in dialect.layout.names}
        row = 1
        for part in self._parsed(dialect, numeric, ()):
            for name in numeric:
                evidence.add(name, part.table.column(name).combine_chunks(), row)
            if not evidence.is_undecided(self._schema.format):
                return evidence
            row += len(part.table) + len(part.wrong)
        faults = [
            f"{cell.column}: {cell.text!r} (row {cell.row}) is {cell.text.replace(separator, '')} or "
            f"{cell.text.replace(separator, '.')}, and no other number of the file says which; set accounts.format.decimal to "
            "'.' or ','"
            for separator, cell in evidence.open.items()
        ]
        raise FaultsError(f"{self.uri}: numbers with two meanings", faults)

    def tables(self, wanted: Iterable[str], *, as_text: bool = False) -> Iterator[tuple["pa.Table", int]]:
        """Read the rows.

        Args:
            wanted: Names of the columns to read.
            as_text: Whether numbers are returned as text, in plain notation.

        Yields:
            Rows and the number of bytes of text read so far. Numeric columns of the schema are float64, or text from the
            first value on that is not a number; the other columns are text.

        Raises:
            ChurnError: If the file is damaged, or rows cannot be told apart; no rows are returned from there on, and all such
                faults of the file are listed.
        """
        dialect = self.dialect
        wanted = set(wanted)
        read = {name for name in dialect.layout.names if name in wanted}
        numeric = () if as_text and dialect.numbers.are_plain else self._schema.numeric_names
        faults = FileFaults(self.uri, dialect.layout.names)
        done = 0
        for part in self._parsed(dialect, read, numeric, as_text=as_text):
            done += len(part.block.data)
            faults.add(part)
            if len(part.table) and not faults.found:
                yield part.table, done
        faults.report(self._schema)

    def _parsed(
        self, dialect: Dialect, read: set[str], numeric: Iterable[str], *, as_text: bool = False
    ) -> Iterator[ParsedBlock]:
        names = placeholders(dialect.layout.names)
        columns = [name for name in names if name in read] or names[:1]  # one at least, to count the rows
        if dialect.layout.has_end_delimiters:
            columns.append(names[-1])
        numbers = [name for name in columns if name in set(numeric)]

        def parse(block: Block) -> ParsedBlock:
            return self._block(block, dialect, names, columns, numbers, as_text)

        with self._store.reading(self._name) as file:
            yield from in_order(parse, self._blocks(file, dialect), workers=1 if dialect.is_small else cores())

    def _blocks(self, file: IO[bytes], dialect: Dialect) -> Iterator[Block]:
        pieces = iter(TextPieces(file, self._schema.format.encoding, PIECE_BYTES))
        if dialect.has_returns:
            pieces = with_line_feeds(pieces)
        layout = dialect.layout
        yield from blocks(_after(pieces, layout.start), layout.delimiter, len(layout.names))

    def _block(
        self, block: Block, dialect: Dialect, names: list[str], columns: list[str], numbers: list[str], as_text: bool
    ) -> ParsedBlock:
        import pyarrow as pa
        import pyarrow.compute as pc

        # Columns of numbers that PyArrow can read; the others are read as text.
        fast = set() if as_text else set(numbers) - dialect.numbers.others
        data, is_mended = block.data, dialect.encoding is not None
        # PyArrow cannot report a record that is not UTF-8.
        if not is_mended and not is_utf8(data):
            data, is_mended = mended(data, self._schema.format.encoding), True
            if self._schema.format.encoding is None and not dialect.layout.has_other_bytes:
                say(_other_bytes(self.uri))

        def read() -> tuple["pa.Table", list[WrongLength]]:
            types = {name: pa.float64() if name in fast else pa.string() for name in columns}
            decimal = dialect.numbers.decimal
            return parsed(data, dialect.layout.delimiter, names, types, self._schema.missing, decimal)

        try:
            table, wrong = read()
        except pa.ArrowInvalid:
            # A cell is not a number: the check of the table names it.
            fast = set()
            table, wrong = read()
        spilled = []
        if dialect.layout.has_end_delimiters:
            spilled = _rows_where(pc.not_equal(table.column(names[-1]), ""))
            table = table.drop_columns([names[-1]])
        texts = [name for name in numbers if name not in fast]
        table = self._with_numbers(table, texts, dialect.numbers, as_text)
        return ParsedBlock(block, table, wrong, spilled, self._unreadable(table) if is_mended else {})

    def _with_numbers(self, table: "pa.Table", names: list[str], numbers: Numbers, as_text: bool) -> "pa.Table":
        """Return a table whose columns of numbers, read as text, are numbers where all their cells are."""
        import pyarrow as pa

        for name in names:
            texts = table.column(name).combine_chunks()
            cells = numbers.plain_text(texts, name, self._schema.missing)
            if not as_text:
                with suppress(pa.ArrowInvalid):
                    cells = cells.cast(pa.float64())
            table = table.set_column(table.column_names.index(name), name, cells)
        return table

    def _unreadable(self, table: "pa.Table") -> dict[str, list[int]]:
        import pyarrow as pa
        import pyarrow.compute as pc

        used = {*self._schema.source_columns, self._schema.label.column}
        texts = [item.name for item in table.schema if item.name in used and pa.types.is_string(item.type)]
        found = {name: _rows_where(pc.match_substring(table.column(name), UNREADABLE)) for name in texts}
        return {name: rows for name, rows in found.items() if rows}


def _rows_where(mask: "pa.ChunkedArray") -> list[int]:
    import pyarrow.compute as pc

    rows: list[int] = pc.indices_nonzero(mask).to_pylist()
    return rows


def _other_bytes(uri: str) -> str:
    return f"{uri}: bytes that are not UTF-8 are read as {FALLBACK}; accounts.format.encoding sets another encoding"


def _first(pieces: Iterable[bytes], size: int) -> tuple[bytes, bool]:
    """Return the first part of a text of at least some size, and whether it is the whole text."""
    first = b""
    for piece in pieces:
        first += piece
        if len(first) > size:
            return first[:size], False
    return first, True


def _after(pieces: Iterator[bytes], start: int) -> Iterator[bytes]:
    """Return a text from a position on."""
    for piece in pieces:
        if start < len(piece):
            yield piece[start:] if start else piece
        start = max(0, start - len(piece))
