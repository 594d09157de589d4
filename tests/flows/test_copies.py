"""Near copies in a match, and memorized images, from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from royalty.models.judging.memorization import Memorization
from royalty.tasks.items.copied_images import CopiedImage
from royalty.tasks.items.gmvaluator_worker import COPIED, _copied
from tests.conftest import Run
from tests.models.test_near_copies import SIDE, reencoded, scenes
from tests.watching import Watch


def save(folder: Path, images: np.ndarray, first: int = 0) -> list[str]:
    folder.mkdir()
    names = [f"{first + place:03}.png" for place in range(len(images))]
    for name, image in zip(names, images, strict=True):
        Image.fromarray(image.transpose(1, 2, 0)).save(folder / name)
    return names


@pytest.mark.slow
def test_who_had_it_first_is_paid_and_shown(watch: Watch, royalty: Run, tmp_path: Path) -> None:
    images = scenes(30)
    original = Image.fromarray(images[4].transpose(1, 2, 0))
    copies = [
        reencoded(original.resize((SIDE, SIDE), Image.Resampling.BICUBIC, box=(edge, 1, SIDE - 4 + edge, SIDE - 3)))
        for edge in range(4)
    ]
    # The copies come first in the folder; their dates say that they are later.
    every = np.concatenate([np.stack([np.asarray(copy).transpose(2, 0, 1) for copy in copies]), images])
    names = save(tmp_path / "images", every)
    rows = [
        f"{name},{'eve' if place < 4 else 'ann'},{'2024-05-01' if place < 4 else '2020-01-01'}"
        for place, name in enumerate(names)
    ]
    (tmp_path / "images" / "metadata.csv").write_text("\n".join(["file_name,contributor,date", *rows]) + "\n")
    save(tmp_path / "made", np.concatenate([scenes(5, seed=1), images[[4]] // 2 + 60]))
    match = ("value", "gmvaluator", "--train", "images", "--generated", "made", "--json")
    (tmp_path / "m.yaml").write_text("matching: {rerank: none, resolution: 64, k: 8}\n")
    done = royalty(*match, "--config", "m.yaml")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["diagnostics"]["copies"] == 4
    assert result["contributors"]["eve"] == 0
    table = pd.read_parquet(Path(result["folder"]) / "values.parquet")
    assert table["copy_of"].tolist() == ["008.png"] * 4 + [""] * 30
    assert (table["value"][:4] == 0).all()
    assert table["value"][8] > 0
    shown = pd.read_csv(Path(result["folder"]) / "copies.csv")
    assert shown["image"].tolist() == names[:4]
    assert shown.iloc[0].to_dict() == {
        "image": "000.png",
        "contributor": "eve",
        "date": "2024-05-01",
        "earliest": "008.png",
        "earliest_contributor": "ann",
        "earliest_date": "2020-01-01",
    }
    (tmp_path / "m.yaml").write_text("matching: {rerank: none, resolution: 64, k: 8, copies: separate}\nname: each\n")
    each = json.loads(royalty(*match, "--config", "m.yaml").stdout)
    assert each["contributors"]["eve"] > 0
    assert each["diagnostics"]["copies"] == 0
    assert watch.stages >= {"gmvaluator", "write-matches"}


def test_the_surest_copies_are_kept_for_the_report() -> None:
    found = Memorization(
        nearest=np.array([2, 0, 1, 1]),
        closeness=np.array([0.3, 0.1, 0.2, 0.2]),
        view=np.zeros(4, np.int64),
        p_values=np.array([0.02, 0.02, 0.5, 0.01]),
        flagged=np.array([True, True, False, True]),
        smallest=0.01,
    )
    assert _copied(found, np.array([5, 6, 9])) == [
        CopiedImage(3, 6, 0.01),
        CopiedImage(1, 5, 0.02),
        CopiedImage(0, 9, 0.02),
    ]
    many = Memorization(*(np.zeros(50, np.int64),) * 3, np.zeros(50), np.ones(50, bool), 0.01)
    assert len(_copied(many, np.arange(3))) == COPIED


@pytest.mark.slow
def test_copies_of_training_images_are_found_among_generated_ones(watch: Watch, royalty: Run, tmp_path: Path) -> None:
    images = scenes(140)
    save(tmp_path / "images", images[:60])
    save(tmp_path / "unseen", images[60:120])
    copies = images[:5] // 4 * 4 + 1  # with fewer grey levels
    save(tmp_path / "made", np.concatenate([copies, images[120:]]))
    test = ("evaluate", "memorization", "--train", "images", "--generated", "made", "--json")
    (tmp_path / "t.yaml").write_text("resolution: 64\nrate: 0.2\n")
    done = royalty(*test, "--held-out", "unseen", "--config", "t.yaml")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["generated"], result["compared"]) == (25, 60)
    table = pd.read_parquet(Path(result["folder"]) / "memorization.parquet")
    assert table["nearest_file_name"][:5].tolist() == [f"{row:03}.png" for row in range(5)]
    assert table["flagged"][:5].all()
    assert table["flagged"].sum() == result["flagged"] <= 7
    assert (Path(result["folder"]) / "closest.png").stat().st_size > 1000
    among = json.loads(royalty(*test, "--config", "t.yaml", "--name", "among").stdout)
    assert (among["compared"], among["smallest"]) == (60, pytest.approx(1 / 61))
    np.savez(tmp_path / "features.npz", features=np.ones((9, 4)))
    refused = royalty("evaluate", "memorization", "--train", "features.npz", "--generated", "features.npz")
    assert refused.returncode == 1
    assert "features are given; give folders or Parquet files" in refused.stderr
    assert watch.stages >= {"memorization", "write-memorization"}
