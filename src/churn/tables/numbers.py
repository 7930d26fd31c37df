"""Numbers as other programs write them: decimal commas, thousands, currencies, percent signs and signs at the end.

What a file holds decides how its numbers are read. ``1.207,54`` or ``0,5`` prove a decimal comma; ``1.207`` alone proves
nothing, because it is 1207 in one country and 1.207 in another.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from churn.config import FileFormat

if TYPE_CHECKING:
    import pyarrow as pa

# Blanks of any width, which also separate thousands.
BLANKS = " \u00a0\u2007\u2009\u202f"
_SEPARATORS = {"": "", ",": ",", ".": ".", " ": BLANKS, "'": "'\u2019"}
_MINUS = "\u2212-"
CURRENCY = (
    r"(?:US\$|R\$|[$€£¥₹₽₩₺₴฿]|USD|EUR|GBP|CHF|JPY|CNY|INR|AUD|CAD|NZD|SEK|NOK|DKK|ISK|PLN|CZK|HUF|RON|BGN|TRY|BRL|MXN|ZAR"
    r"|SGD|HKD|KRW|ILS|THB|RUB|UAH|kr\.?|Kč|zł|Ft|Fr\.)"
)
_EXPONENT = r"(?:[eE][+-]?[0-9]+)?"
# A number in any notation, and what surrounds its digits and separators.
ANY_NUMBER = (
    f"^[(+{BLANKS}{_MINUS}]*(?:{CURRENCY}[{BLANKS}]?)?[+{_MINUS}]?[.,]?[0-9][0-9.,'\u2019{BLANKS}]*{_EXPONENT}"
    f"[{_MINUS}]?[{BLANKS}]?(?:{CURRENCY}|%)?\\)?$"
)
# Characters that a number with a decimal point does not have.
_SPECIAL = "[^0-9.eE+-]"
# The same for words too, such as those for missing values; a letter beside a digit may be a currency.
_NOT_PLAIN = "[^0-9A-Za-z.#/-]|[0-9][A-DF-Za-df-z]|[A-DF-Za-df-z][0-9]"
_AROUND = f"{CURRENCY}|{_EXPONENT}$|[()%+{_MINUS}]"
# What a number of another notation than the rest of its file is shown with in messages.
HINT, WITHOUT_PERCENT, OTHER_CURRENCY = " (see accounts.format)", " (without %)", " (another currency)"


@dataclass(frozen=True)
class Numbers:
    """How the numbers of a file are written.

    Attributes:
        decimal: Decimal separator.
        thousands: Separator of thousands: ``,``, ``.``, a blank for blanks of any width, ``'``, or empty.
        percent: Columns of percentages: 12% is 0.12.
        currencies: Currency symbol of each column that has one.
        others: Columns that have more than digits and a decimal separator in the first rows, so that it is faster to read them
            as text at once.
    """

    decimal: str = "."
    thousands: str = ""
    percent: frozenset[str] = frozenset()
    currencies: Mapping[str, str] = field(default_factory=dict)
    others: frozenset[str] = field(default=frozenset(), compare=False)

    @property
    def are_plain(self) -> bool:
        """Whether all numbers consist of digits and a decimal point."""
        return self == PLAIN

    def plain_text(self, texts: "pa.Array", column: str, missing: Iterable[str]) -> "pa.Array":
        """Rewrite the cells of a column in plain notation: digits and a decimal point.

        Args:
            texts: The cells.
            column: Name of the column.
            missing: Spellings of a missing value in any case, which become null.

        Returns:
            Text; true and false are 1 and 0. A number in another notation gets a hint, so that the check of the table reports
            it as no number; other text stays as it is.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        cells = pc.utf8_trim(texts, BLANKS + "\t")
        symbol = self.currencies.get(column)
        is_percent = column in self.percent
        valid = pc.match_substring_regex(cells, _pattern(self.decimal, self.thousands, is_percent, symbol))
        core = pc.replace_substring(cells, symbol, "") if symbol else cells
        negative = pc.match_substring_regex(core, f"^[{BLANKS}]*[({_MINUS}]|[{_MINUS}][{BLANKS}]*$")
        core = pc.utf8_trim(core, f"{BLANKS}()+%{_MINUS}")
        for separator in _SEPARATORS[self.thousands]:
            core = pc.replace_substring(core, separator, "")
        core = pc.replace_substring(core, self.decimal, ".")
        if is_percent:
            core = pc.binary_join_element_wise(core, "e-2", "")
        core = pc.if_else(negative, pc.binary_join_element_wise("-", core, ""), core)
        hint = pa.scalar(HINT)
        if is_percent:
            hint = pc.if_else(pc.match_substring(cells, "%"), HINT, WITHOUT_PERCENT)
        elif symbol:
            hint = pc.if_else(pc.match_substring_regex(cells, CURRENCY), OTHER_CURRENCY, HINT)
        others = pc.if_else(
            pc.match_substring_regex(cells, ANY_NUMBER), pc.binary_join_element_wise(texts, hint, ""), texts
        )
        lowered = pc.utf8_lower(cells)
        for word, number in (("true", "1"), ("false", "0")):
            others = pc.if_else(pc.equal(lowered, word), number, others)
        absent = pc.is_in(lowered, pa.array(sorted({text.lower() for text in missing}), type=cells.type))
        return pc.if_else(absent, None, pc.if_else(valid, core, others))

    def described(self, given: FileFormat) -> list[str]:
        """Return what differs from plain numbers and was not given by the parameters, in words."""
        words = []
        if self.decimal == "," and given.decimal is None:
            words.append("decimal comma")
        if self.thousands and given.thousands is None:
            words.append(f"thousands separated by {self.thousands!r}")
        if self.percent:
            words.append(f"percent signs in {', '.join(sorted(self.percent))} (12% is 0.12)")
        words += [f"currency {symbol} in {column}" for column, symbol in sorted(self.currencies.items())]
        return words


PLAIN = Numbers()


@lru_cache
def _pattern(decimal: str, thousands: str, percent: bool, symbol: str | None) -> str:
    """Return the regular expression of a number."""
    point = re.escape(decimal)
    groups = f"|[0-9]{{1,3}}(?:[{_SEPARATORS[thousands]}][0-9]{{3}})+" if thousands else ""
    core = f"(?:(?:[0-9]+{groups})(?:{point}[0-9]*)?|{point}[0-9]+){_EXPONENT}"
    blank, end = f"[{BLANKS}]?", f"[{_MINUS}]?"
    sign = f"(?:[+{_MINUS}]{blank})?"
    if percent:
        return f"^(?:{sign}{core}{end}{blank}%|{sign}0+(?:{point}0*)?)$"  # zero needs no unit
    before = f"(?:{re.escape(symbol)}{blank})?" if symbol else ""
    after = f"(?:{blank}{re.escape(symbol)})?" if symbol else ""
    return f"^(?:{sign}{before}{sign}{core}{end}{after}|\\({before}{core}{after}\\))$"


@dataclass(frozen=True)
class Cell:
    """A number of a file, as an example.

    Attributes:
        column: Its column.
        row: Its row, counted from 1 without the header.
        text: The cell.
    """

    column: str
    row: int
    text: str

    def __str__(self) -> str:
        return f"{self.text!r} ({self.column}, row {self.row})"


def _proof(separator: str) -> str:
    """Return the regular expression of digits that prove a decimal separator."""
    point, other = re.escape(separator), "." if separator == "," else ","
    grouped = f"[0-9]{{1,3}}(?:[{other}'\u2019{BLANKS}][0-9]{{3}})+"
    before = f"(?:[0-9]{{4,}}|0[0-9]*|{grouped}|){point}[0-9]+"
    return f"^(?:{before}|(?:[0-9]+|{grouped}){point}(?:[0-9]{{0,2}}|[0-9]{{4,}})|[0-9]{{1,3}}(?:{other}[0-9]{{3}}){{2,}})$"


_PROOFS = {separator: _proof(separator) for separator in ".,"}
_OPEN = {separator: rf"^[1-9][0-9]{{0,2}}{re.escape(separator)}[0-9]{{3}}$" for separator in ".,"}
_GROUPED = {
    separator: f"^[0-9]{{1,3}}(?:[{characters}][0-9]{{3}})+(?:[.,][0-9]*)?$"
    for separator, characters in _SEPARATORS.items()
    if separator
}


@dataclass
class Evidence:
    """What some rows of a file say about the notation of its numbers.

    Attributes:
        proofs: For a decimal separator, the number of cells that prove it.
        open: For a separator, the first cell in which it is either decimal or between thousands.
        grouped: Columns with separators between groups of three digits, by separator.
        percent: Columns with percent signs.
        currencies: Currency symbol of each column that has one.
    """

    proofs: Counter[str] = field(default_factory=Counter)
    open: dict[str, Cell] = field(default_factory=dict)
    grouped: dict[str, set[str]] = field(default_factory=dict)
    percent: set[str] = field(default_factory=set)
    currencies: dict[str, str] = field(default_factory=dict)

    def add_plain(self, columns: "Sequence[pa.Array]") -> bool:
        """Add the cells of numeric columns if they are plain numbers and words without doubt; return whether they are."""
        import pyarrow as pa
        import pyarrow.compute as pc

        cells = pc.unique(pa.concat_arrays(columns))
        if pc.any(pc.match_substring_regex(cells, _NOT_PLAIN)).as_py():
            return False
        proving = pc.sum(pc.match_substring_regex(cells, _PROOFS["."])).as_py() or 0
        if not proving and pc.any(pc.match_substring(cells, ".")).as_py():
            return False
        self.proofs += Counter({".": proving})
        return True

    def add(self, column: str, texts: "pa.Array", first_row: int = 1) -> None:
        """Add the cells of a numeric column, the first of which is in the row of that number."""
        import pyarrow.compute as pc

        rows = pc.indices_nonzero(pc.match_substring_regex(texts, "[^0-9]"))
        cells = pc.utf8_trim(pc.take(texts, rows), BLANKS + "\t")
        if pc.any(pc.match_substring_regex(cells, _SPECIAL)).as_py():
            numbers = pc.indices_nonzero(pc.match_substring_regex(cells, ANY_NUMBER))
            rows, cells = pc.take(rows, numbers), pc.take(cells, numbers)
        separators = ".," if pc.any(pc.match_substring_regex(cells, _SPECIAL)).as_py() else "."
        if separators == "." and "." in self.proofs:
            return
        core = cells
        if separators != ".":
            self._add_units(column, cells)
            core = pc.replace_substring_regex(cells, _AROUND, "")
        core = pc.utf8_trim(core, f"{BLANKS}+{_MINUS}")
        for separator, pattern in _GROUPED.items():
            if pc.any(pc.match_substring_regex(core, pattern)).as_py():
                self.grouped.setdefault(separator, set()).add(column)
        for separator in ".,":
            proving = pc.sum(pc.match_substring_regex(core, _PROOFS[separator])).as_py() or 0
            self.proofs += Counter({separator: proving})
        for separator in separators:
            at = pc.index(pc.match_substring_regex(core, _OPEN[separator]), True).as_py()
            if at >= 0 and separator not in self.open:
                self.open[separator] = Cell(column, rows[at].as_py() + first_row, cells[at].as_py())

    def _add_units(self, column: str, cells: "pa.Array") -> None:
        import pyarrow.compute as pc

        if pc.any(pc.match_substring(cells, "%")).as_py():
            self.percent.add(column)
        at = pc.index(pc.match_substring_regex(cells, CURRENCY), True).as_py()
        if at >= 0 and column not in self.currencies:
            found = re.search(CURRENCY, cells[at].as_py())
            self.currencies[column] = found.group() if found else ""

    def is_undecided(self, given: FileFormat) -> bool:
        """Whether there are cells with two meanings, and neither other cells nor the parameters say which is right."""
        if given.decimal is not None or given.thousands in (",", ".") or self.proofs:
            return False
        return len(self.open) > (1 if given.thousands == "" else 0)

    def numbers(self, given: FileFormat) -> Numbers:
        """Return how the numbers are written; where nothing says otherwise, with a decimal point.

        Args:
            given: The parameters.
        """
        other = {".": ",", ",": "."}
        # Cells of the other notation are faults then: a number has to be written as most are.
        decimal: str = "," if self.proofs[","] > self.proofs["."] else "."
        if given.thousands == "" and not self.proofs and set(self.open) == {","}:
            decimal = ","
        if given.decimal is not None:
            decimal = given.decimal
        elif given.thousands in (",", "."):
            decimal = other[given.thousands]
        thousands: str = next((each for each in (other[decimal], " ", "'") if each in self.grouped), "")
        if given.thousands is not None:
            thousands = given.thousands
        others = {*self.percent, *self.currencies, *self.grouped.get(thousands, ())}
        return Numbers(decimal, thousands, frozenset(self.percent), self.currencies, frozenset(others))
