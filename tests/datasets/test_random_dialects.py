"""Random tables, written in random dialects, are read as they were."""

import csv
import gzip
import io
import random
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from churn.config import AccountSchema
from churn.datasets import AccountBatchesDataset, AccountsDataset
from churn.tables import check_accounts

SCHEMA = AccountSchema.model_validate(
    {
        "id": "Nr",
        "label": {"column": "left", "positive": "yes", "negative": "no"},
        "numeric": ["Umsatz", "seats", "rate"],
        "categorical": ["city"],
        "left_out": ["note", "since"],
    }
)
CITIES = ["Köln", "Zürich", "São Paulo", "NA", 'the "City"', "Bonn; am Rhein", "a,b|c\td", '5" x']
NOTES = ["", "ok", "first\nsecond", 'say "hi"\r\n\r\nbye', "'", "1.207,54", "naïve €", ";;;", "\n", "x" * 200]


def table_of(draw: random.Random) -> pd.DataFrame:
    rows = draw.choice([10, 60, 300])
    numbers = [draw.choice([0.0, 12.0, 1207.54, -0.5, 1_234_567.891, 3e-05, draw.gauss(0, 1e4)]) for _ in range(rows)]
    return pd.DataFrame(
        {
            "Nr": [f"{number:06}" for number in range(rows)],
            "left": ["yes", "no", *(draw.choice(["yes", "no"]) for _ in range(rows - 2))],
            "note": [draw.choice(NOTES) for _ in range(rows)],
            "Umsatz": numbers,
            "seats": [7, *(draw.choice([draw.randint(0, 5000), None]) for _ in range(rows - 1))],
            "city": [draw.choice(CITIES) for _ in range(rows)],
            "rate": [draw.randint(0, 2000) / 1000 + 0.5 for _ in range(rows)],
            "since": [f"{draw.randint(1, 28):02}.03.2024" for _ in range(rows)],
        }
    )


def written(table: pd.DataFrame, draw: random.Random) -> tuple[bytes, dict[str, Any]]:
    """The table as text, and what a dialect cannot hold left out of it."""
    dialect = {
        "delimiter": draw.choice([",", ";", "\t", "|"]),
        "decimal": draw.choice([".", ","]),
        "thousands": draw.choice(["", "other", " ", "\u202f", "'"]),
        "encoding": draw.choice(["utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-be"]),
        "ends": draw.choice(["\n", "\r\n"]),
        "quoting": draw.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
        "title": draw.choice(["", "", "sep=?", "Report; of\n\n", "A title\n"]),
        "unit": draw.choice(["", "", " €", "$"]),
        "end": draw.choice([False, False, True]),
        "index": draw.choice([False, False, True]),
    }

    def number(value: float | None, unit: str = "") -> str:
        if value is None or value != value:
            return draw.choice(["", "NA"])
        other = "," if dialect["decimal"] == "." else "."
        thousands = other if dialect["thousands"] == "other" else dialect["thousands"]
        if abs(value) < 1e-3 and value:
            return repr(value).replace(".", dialect["decimal"])
        whole, _, rest = f"{value:,.6f}".partition(".")
        text = whole.replace(",", thousands) + (dialect["decimal"] + rest.rstrip("0") if rest.strip("0") else "")
        if unit == "$":
            return f"-${text[1:]}" if text.startswith("-") else f"${text}"
        return text + unit

    text = io.StringIO(newline="")
    title = dialect["title"].replace("?", dialect["delimiter"] + "\n").replace("\n", dialect["ends"])
    text.write(title)
    writer = csv.writer(
        text, delimiter=dialect["delimiter"], quoting=dialect["quoting"], lineterminator=dialect["ends"]
    )
    index, end = ([""] if dialect["index"] else []), ([""] if dialect["end"] else [])
    writer.writerow([*index, *table.columns, *end])
    for place, row in enumerate(table.to_dict("records")):
        cells = {
            **row,
            "Umsatz": number(row["Umsatz"], dialect["unit"]),
            "seats": number(row["seats"]),
            "rate": number(row["rate"]),
        }
        if dialect["encoding"] == "cp1252" and dialect["thousands"] == "\u202f":
            cells = {name: str(cell).replace("\u202f", "\u00a0") for name, cell in cells.items()}
        writer.writerow([*([str(place)] if index else []), *cells.values(), *end])
    content = text.getvalue().encode(dialect["encoding"])
    return content, dialect


def packed(content: bytes, kind: str) -> bytes:
    if kind == "zip":
        sink = io.BytesIO()
        with zipfile.ZipFile(sink, "w") as archive:
            archive.writestr("t.csv", content)
        return sink.getvalue()
    return {"gzip": gzip.compress, "zstd": lambda plain: pa.compress(plain, "zstd", asbytes=True)}[kind](content)


@pytest.mark.parametrize("seed", range(25))
def test_a_table_is_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    draw = random.Random(seed)
    table = table_of(draw)
    content, dialect = written(table, draw)
    kind = draw.choice(["", "", "gzip", "zip", "zstd"])
    (tmp_path / "t.csv").write_bytes(packed(content, kind) if kind else content)
    monkeypatch.setattr("churn.tables.csv_file.PIECE_BYTES", draw.choice([100, 3000, 1 << 20]))
    options = {"filepath": str(tmp_path / "t.csv"), "schema": SCHEMA.model_dump(mode="json")}
    whole = AccountsDataset(**options).load()
    parts = pd.concat(AccountBatchesDataset(**options, labelled=True).load(), ignore_index=True)
    expected = check_accounts(table.round({"Umsatz": 6}), SCHEMA, subject="t", labelled=True).accounts
    for frame in (whole, parts):
        read = check_accounts(frame, SCHEMA, subject="t", labelled=True).accounts
        pd.testing.assert_frame_equal(read, expected, obj=str(dialect))
    assert whole["note"].tolist() == table["note"].tolist()
    assert whole["since"].tolist() == table["since"].tolist()
