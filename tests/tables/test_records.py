"""Blocks of whole records: the same records as PyArrow's parser finds, however the text comes in pieces."""

import random

import pytest

from churn.tables.parsing import parsed
from churn.tables.records import Block, OddCell, blocks

PARTS = ["a", "b", '"', '"', ",", "\n", "\r\n", '""', '"a"', ',"x"', ',"x\ny"', ',"x', '\n"y"']


def in_pieces(text: bytes, size: int) -> list[bytes]:
    return [text[start : start + size] for start in range(0, len(text), size)]


def rows_of(found: list[Block]) -> list[dict[str, str]]:
    return [row for block in found for row in parsed(block.data, ",", ["one", "two"])[0].to_pylist()]


@pytest.mark.parametrize("seed", range(300))
def test_pieces_of_any_size_are_the_same_records(seed: int) -> None:
    draw = random.Random(seed)
    text = "".join(draw.choices(PARTS, k=draw.randint(0, 40))).encode()
    whole = list(blocks([text] if text else [], ",", 2))
    parts = list(blocks(in_pieces(text, draw.randint(1, 9)), ",", 2))
    assert b"".join(block.data for block in parts) == b"".join(block.data for block in whole)
    assert rows_of(parts) == rows_of(whole)
    assert [block.unclosed is None for block in parts[-1:]] == [block.unclosed is None for block in whole[-1:]]
    for block in (*whole, *parts):
        if block.records is not None:
            table, wrong = parsed(block.data, ",", ["one", "two"])
            assert len(table) + len(wrong) == block.records


def test_a_quote_within_a_cell_is_a_character() -> None:
    (block,) = blocks([b'a,12" screen\nb,"x"\n'], ",", 2)
    assert rows_of([block]) == [{"one": "a", "two": '12" screen'}, {"one": "b", "two": "x"}]


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_an_unclosed_quote_is_placed(size: int) -> None:
    text = b'a,b\n\n"c",d\ne,"f\ng,h\ni,j\n'
    found = list(blocks(in_pieces(text, size), ",", 2))
    assert len(rows_of(found)) == 2
    records, cells = found[-1].unclosed or (0, 0)
    assert records + sum(block.records or len(rows_of([block])) for block in found[:-1]) == 2
    assert cells == 1


def test_cells_with_many_line_breaks_are_placed() -> None:
    text = b'a,b\n"c ""x""\n","' + b'line ""\n' * 12 + b'"\ne,"f\ng"\n'
    (block,) = blocks([text], ",", 2)
    assert block.odd_cells == (OddCell(record=1, column=1, line_breaks=12),)
    assert block.records == 3


def test_rows_between_two_quotes_are_placed() -> None:
    text = b'a,b,c\nd,"e,f\ng,h,i\nj,k",l\nm,"n\no, p, q",r\n'
    (block,) = blocks([text], ",", 3)
    assert block.odd_cells == (OddCell(record=1, column=1, line_breaks=2), OddCell(record=2, column=1, line_breaks=1))
    assert next(blocks([b'a,"b\nc, d",e\n'], ",", 3)).odd_cells == ()


def test_a_quote_closed_by_that_of_a_later_cell_is_placed() -> None:
    (block,) = blocks([b'a,"b,c\nd,e,"f, g"\n'], ",", 3)
    assert block.odd_cells == (OddCell(record=0, column=1, line_breaks=1, ends_within=True),)


def test_a_record_without_end_is_not_held_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("churn.tables.records.MAX_RECORD", 100)
    endless = (b"x" * 50 + b"\n" for _ in iter(int, 1))

    def text():  # type: ignore[no-untyped-def]
        yield b'a,"b\n'
        yield from endless

    (block,) = blocks(text(), ",", 2)
    assert block.unclosed == (0, 1)
