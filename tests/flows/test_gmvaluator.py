"""Matching generated images with training images, from the command line."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from royalty.infra.stores.runstore import StageRecord
from royalty.models.data.folder import METADATA
from royalty.models.data.items import ImageSet, item_id
from royalty.models.data.labelled import Items
from royalty.models.distances.distance import FeatureDistance, euclidean
from royalty.models.generators.generator import NOTHING_ELSE
from royalty.models.generators.registry import build_generator
from royalty.tasks.config.matching import GrandMatching, Matching
from royalty.tasks.items import gmvaluator_worker, reading
from royalty.tasks.items.embedding_stages import EmbedInputs
from royalty.tasks.items.embedding_worker import embed
from royalty.tasks.items.grand_model_worker import match_model
from royalty.tasks.items.stages import COLOUR, MATCH, ColourInputs, ItemsOutputs, MatchInputs
from royalty.tasks.items.stored_items import keep_items, load_items, load_values
from royalty.tasks.stages.context import open_stores, stage_context
from royalty.tasks.stages.stage import Finished, as_json
from tests.conftest import Run, save_digits
from tests.watching import Watch

CONFIG = "train: images\ngenerated: made\nsize: 8\nmatching: {encoder: pixels, rerank: l2, k: 5, temperature: 0.5}\n"


def stages(home: Path) -> int:
    with sqlite3.connect(home / "royalty.db") as database:
        return int(database.execute("select count(*) from stages").fetchone()[0])


@pytest.mark.slow
def test_generated_images_are_matched_once_with_those_behind_them(watch: Watch, royalty: Run, tmp_path: Path) -> None:
    files = save_digits(tmp_path / "images", ["ann", "bob", "ann;cy"] * 10)
    (tmp_path / "made" / "more").mkdir(parents=True)  # a folder of images and nothing else
    for index in (3, 10, 20):
        # In colour, which the training images have not: they are compared as if they had.
        Image.open(files[index]).convert("RGB").save(tmp_path / "made" / "more" / f"{index}.png")
    (tmp_path / "m.yaml").write_text(CONFIG)
    done = royalty("value", "gmvaluator", "--config", "m.yaml", "--out", "out.parquet", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["items"], result["generated"]) == (30, 3)
    table = pd.read_parquet(tmp_path / "out.parquet")
    assert list(table) == ["id", "file_name", "source", "label", "contributor", "copy_of", "value"]
    assert table["file_name"].tolist() == [str(file.relative_to(tmp_path / "images")) for file in files]
    assert table["source"].tolist() == [f"images/metadata.csv, row {row}" for row in range(2, 32)]
    assert result["diagnostics"]["quality_lost"] == 0  # each is a copy of a training image
    assert table["value"].sum() == pytest.approx(3)
    assert (table["value"] == 0).sum() >= 30 - 15
    folder = Path(result["folder"])
    behind = pd.read_parquet(folder / "contributions.parquet")
    assert len(behind) == 15
    first = behind.groupby("generated").first()
    assert first["generated_file_name"].tolist() == ["more/10.png", "more/20.png", "more/3.png"]
    assert first["file_name"].tolist() == ["10.png", "20.png", "sub/3.png"]
    assert sorted(first["item"]) == [3, 10, 20]  # a copy of an image stands behind it first, at no distance
    assert (first["distance"] == 0).all()
    shares = result["contributors"]
    assert sum(shares.values()) == pytest.approx(3)
    halves = table["value"].to_numpy()[2::3].sum() / 2
    assert shares["cy"] == pytest.approx(halves)
    assert shares["bob"] == pytest.approx(table["value"].to_numpy()[1::3].sum())
    totals = pd.read_csv(folder / "contributors.csv").set_index("contributor")
    assert totals["value"].to_dict() == pytest.approx(shares)
    assert totals["items"].to_dict() == {"ann": 15, "bob": 10, "cy": 5}
    assert {"values.png", "behind.png", "values.parquet"} <= {file.name for file in folder.iterdir()}

    count = stages(tmp_path / "home")
    again = royalty("value", "gmvaluator", "--config", "m.yaml", "--json")
    assert json.loads(again.stdout)["table"] == result["table"]
    assert stages(tmp_path / "home") == count
    assert watch.stages >= {"gmvaluator", "write-matches"}


class Counting:
    """An encoder and judge of images that counts those it looks at."""

    dimensions, seen = 3, 0

    def __init__(self, name: str) -> None:
        self.name = name

    def features(self, images: np.ndarray, *, progress: object = None) -> np.ndarray:
        self.seen += len(images)
        return images[:, 0, 0, :3].astype(np.float32)

    def scores(self, images: np.ndarray, *, progress: object = None) -> np.ndarray:
        self.seen += len(images)
        return np.full(len(images), 0.5, np.float32)


@pytest.mark.slow
def test_a_second_match_encodes_and_scores_nothing_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = stage_context(open_stores(tmp_path / "home", "", tmp_path / "weights", 1), "key", lambda _: None)
    rng = np.random.default_rng(0)
    train, made = (
        keep_items(context.artifacts, Items.of_images(rng.integers(0, 256, (count, 1, 8, 8), dtype=np.uint8))).items
        for count in (20, 6)
    )
    encoder, judge = Counting("encoder"), Counting("judge")
    monkeypatch.setattr(gmvaluator_worker, "build_distance", lambda *_, **__: FeatureDistance("d", encoder, euclidean))
    monkeypatch.setattr(gmvaluator_worker, "build_quality", lambda *_, **__: judge)
    for side in (train, made):
        key = embed(EmbedInputs(side, "pixels", ""), context).encoder
    settings = {"encoder": "pixels", "rerank": "l2", "quality": "maniqa", "recall_k": 20}
    first, second = (
        gmvaluator_worker.match(
            MatchInputs(train, Matching.model_validate({**settings, "k": k}), generated=made, encoder=key), context
        )
        for k in (5, 9)
    )
    assert (encoder.seen, judge.seen) == (20 + 6, 6)
    assert first.table != second.table
    for matched in (first, second):
        assert matched.diagnostics["quality_lost"] == pytest.approx(0.5)


def test_copies_change_neither_the_quality_nor_the_value_of_originals(tmp_path: Path) -> None:
    context = stage_context(open_stores(tmp_path / "home", "", tmp_path / "weights", 1), "key", lambda _: None)
    rng = np.random.default_rng(0)
    images, made = (rng.integers(0, 200, (count, 1, 32, 32), dtype=np.uint8) for count in (12, 5))
    copies = np.concatenate([images[:4] + np.uint8(brighter) for brighter in range(1, 6)])
    generated = keep_items(context.artifacts, Items.of_images(made)).items
    key = embed(EmbedInputs(generated, "pixels", ""), context).encoder
    found = []
    for every in (images, np.concatenate([images, copies])):
        train = keep_items(context.artifacts, Items.of_images(every)).items
        embed(EmbedInputs(train, "pixels", ""), context)
        matching = Matching(encoder="pixels", rerank="none", k=3)
        matched = gmvaluator_worker.match(MatchInputs(train, matching, generated=generated, encoder=key), context)
        found.append((matched.diagnostics, load_values(context.artifacts, matched.table)["value"].to_numpy()))
    (alone, values), (beside, others) = found
    assert beside["copies"] == len(copies)
    assert beside["quality_lost"] == alone["quality_lost"] > 0
    np.testing.assert_allclose(others, np.concatenate([values, np.zeros(len(copies))]), rtol=1e-6)


def test_images_of_a_model_are_matched_with_those_that_trained_it(tmp_path: Path) -> None:
    context = stage_context(open_stores(tmp_path / "home", "", tmp_path / "weights", 1), "key", lambda _: None)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (9, 1, 8, 8), dtype=np.uint8)
    owners = [("ann",), ("bob",), ("ann", "bob")] * 3
    data = ImageSet.merge(images, [item_id(image) for image in images], np.zeros(9, int), ["any"], owners)
    settings = {"block_channels": [8, 8], "layers_per_block": 1}
    model = build_generator("ddpm", data.shown(), settings, seed=0, resources=NOTHING_ELSE)
    matching = GrandMatching(encoder="pixels", rerank="none", k=3, images=4)
    inputs = MatchInputs(
        context.artifacts.put(data.to_bytes()),
        matching,
        model=context.artifacts.put(model.to_bytes()),
        images=4,
        sampling={"steps": 2, "scheduler": "unipc"},
        seed=5,
    )
    matched = match_model(inputs, context)
    assert (matched.items, matched.generated) == (9, 4)
    made = load_items(context.artifacts, matched.sides["generated"])
    np.testing.assert_array_equal(made.images, model.sample(4, seed=5, steps=2, scheduler="unipc"))
    assert load_items(context.artifacts, matched.sides["train"]).ids == data.ids
    assert matched.contributors is not None
    values = load_values(context.artifacts, matched.table)["value"].to_numpy()
    shares = values @ (data.membership / data.membership.sum(axis=1, keepdims=True))
    assert [matched.contributors[name] for name in data.contributors] == pytest.approx(shares.tolist())
    key = embed(EmbedInputs(matched.sides["train"], "pixels", ""), context).encoder
    given = replace(inputs, **matched.sides, encoder=key)
    assert gmvaluator_worker.match(given, context).table == matched.table

    row = StageRecord(MATCH.name, "key", as_json(inputs), as_json(matched), 1.0, reused=True)
    assert (MATCH.finished(row).inputs, MATCH.finished(row).outputs) == (inputs, matched)


@pytest.mark.parametrize(
    ("channels", "coloured"),
    [((1, 3), [0]), ((3, 1), [1]), ((1, 1), []), ((3, 3), []), ((None, 3), []), ((None, None), [])],
)
def test_greyscale_becomes_colour_where_the_other_side_has_it(
    monkeypatch: pytest.MonkeyPatch, channels: tuple[int | None, ...], coloured: list[int]
) -> None:
    sides = [ItemsOutputs(f"side {side}", 9, count and [count, 8, 8], False, []) for side, count in enumerate(channels)]

    def colour(side: ItemsOutputs) -> Finished[ColourInputs, ItemsOutputs]:
        outputs = replace(side, items=f"coloured {side.items}")
        return Finished(COLOUR.name, "key", ColourInputs(side.items), outputs, 0.0, reused=False)

    monkeypatch.setattr(reading, "colour", colour)
    expected = [f"coloured side {place}" if place in coloured else f"side {place}" for place in range(len(sides))]
    assert [side.items for side in reading.alike(*sides)] == expected


@pytest.mark.slow
def test_what_cannot_be_matched_is_refused_in_one_line(royalty: Run, tmp_path: Path) -> None:
    save_digits(tmp_path / "images", ["ann", "bob"] * 4)
    (tmp_path / "nothing").mkdir()
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "train.npz", features=rng.random((9, 4), dtype=np.float32))
    np.savez(tmp_path / "other.npz", features=rng.random((9, 5), dtype=np.float32))
    zero = rng.random((9, 4), dtype=np.float32)
    zero[6] = 0
    np.savez(tmp_path / "zero.npz", features=zero)
    (tmp_path / "clip.yaml").write_text("size: 8\nmatching: {encoder: clip}\n")
    match = ("value", "gmvaluator", "--out", "none.parquet")
    for arguments, message in (
        (("--train", "images", "--generated", "nothing"), f"has neither {METADATA} nor images"),
        (("--train", "images", "--generated", "train.npz"), "give both as images, or both as features"),
        (("--train", "train.npz", "--generated", "other.npz"), "4 and 5 dimensions"),
        (("--train", "train.npz", "--generated", "zero.npz"), "generated row 6"),
        (("--train", "images", "--generated", "images", "--config", "clip.yaml"), "royalty weights fetch clip"),
        (("--train", "images", "--generated", "images", "--val", "images"), "`--val` does not apply to"),
        (("--train", "images"), "`generated` is missing; pass `--generated`"),
    ):
        done = royalty(*match, *arguments)
        assert (done.returncode, message in done.stderr) == (1, True), done.stderr
        assert done.stderr.count("\n") == 1, done.stderr
    assert not (tmp_path / "none.parquet").exists()
