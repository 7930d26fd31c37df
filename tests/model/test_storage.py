"""A model that is stored and loaded is the same model, or none at all."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from churn.errors import ChurnError
from churn.model import ChurnModel
from churn.model.storage import BOOSTER_FILE, CHECKSUM_FILE, MODEL_FILE


@pytest.fixture
def folder(model: ChurnModel, tmp_path: Path) -> Path:
    model.save(tmp_path / "model")
    return tmp_path / "model"


def test_only_safe_formats(folder: Path) -> None:
    assert sorted(file.name for file in folder.iterdir()) == [BOOSTER_FILE, CHECKSUM_FILE, MODEL_FILE]
    json.loads((folder / MODEL_FILE).read_text())
    assert (folder / BOOSTER_FILE).read_bytes().startswith(b"{L")  # UBJSON, not a pickle


def test_loaded_equals_stored(model: ChurnModel, folder: Path, labelled: pd.DataFrame) -> None:
    loaded = ChurnModel.load(folder)
    assert loaded.sha256 == model.sha256
    assert loaded.encoder == model.encoder
    assert loaded.reference.to_dict() == model.reference.to_dict()
    assert loaded.risk_bands == model.risk_bands
    assert loaded.calibration == model.calibration
    assert loaded.linear is not None
    assert loaded.linear == model.linear
    pd.testing.assert_frame_equal(loaded.score(labelled), model.score(labelled))


@pytest.mark.e2e
def test_another_process_scores_the_same_to_the_last_bit(
    model: ChurnModel, folder: Path, labelled: pd.DataFrame, tmp_path: Path
) -> None:
    labelled.to_parquet(tmp_path / "accounts.parquet")
    code = (
        "import sys, pandas as pd; from pathlib import Path; from churn.model import ChurnModel\n"
        "model = ChurnModel.load(Path(sys.argv[1])); accounts = pd.read_parquet(sys.argv[2])\n"
        "model.score(accounts).to_parquet(sys.argv[3])"
    )
    output = tmp_path / "scores.parquet"
    subprocess.run([sys.executable, "-c", code, folder, tmp_path / "accounts.parquet", output], check=True)
    there = pd.read_parquet(output)["probability"].to_numpy()
    np.testing.assert_array_equal(there.view(np.uint32), model.probability(labelled).view(np.uint32))


@pytest.mark.parametrize("name", [BOOSTER_FILE, MODEL_FILE, CHECKSUM_FILE])
def test_a_flipped_bit_is_refused(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(ChurnError, match="damaged or was changed"):
        ChurnModel.load(folder)


@pytest.mark.parametrize("name", [BOOSTER_FILE, MODEL_FILE, CHECKSUM_FILE])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ChurnError, match=f"is not a churn model.*{name}"):
        ChurnModel.load(folder)


def test_another_model_than_registered_is_refused(model: ChurnModel, folder: Path) -> None:
    ChurnModel.load(folder, model.sha256)
    with pytest.raises(ChurnError, match="not the one that was registered"):
        ChurnModel.load(folder, "0" * 64)


def test_a_later_format_is_refused(model: ChurnModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORMAT", "PLAIN_FORMAT"):
        monkeypatch.setattr(f"churn.model.churn_model.{name}", 4)
    model.save(tmp_path)
    monkeypatch.undo()
    with pytest.raises(ChurnError, match="format 4, this version of churn reads 3"):
        ChurnModel.load(tmp_path)


def test_content_hash_ignores_where_it_was_loaded_from(model: ChurnModel, folder: Path) -> None:
    from churn.model import ModelSource

    loaded = ChurnModel.load(folder)
    assert loaded.version == loaded.sha256[:12]
    named = loaded.loaded_from(ModelSource(uri="models:/churn/3", version="3"))
    assert named.version == "3"
    assert named.sha256 == model.sha256


def test_a_model_of_the_first_format_has_neither_calibration_nor_linear_part(model: ChurnModel, folder: Path) -> None:
    import hashlib

    stored = json.loads((folder / MODEL_FILE).read_text())
    stored["format"] = 1
    del stored["calibration"], stored["linear"]
    (folder / MODEL_FILE).write_text(json.dumps(stored))
    hashes = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in (BOOSTER_FILE, MODEL_FILE)}
    (folder / CHECKSUM_FILE).write_bytes(json.dumps(hashes, indent=1).encode() + b"\n")
    loaded = ChurnModel.load(folder)
    assert loaded.calibration.method == "none"
    assert loaded.linear is None
