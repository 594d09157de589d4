"""Consent and opt-outs count for indexes, valuations, detection, selection and distances, as they do for runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from royalty.infra.ledger.optouts import record_optout
from royalty.models.base.errors import InputError
from royalty.models.base.policy import Policy
from royalty.models.data.columns import Columns, parquet_images
from royalty.models.data.permission import permitted, refusal_notes
from royalty.tasks.items.reading import read as read_task
from royalty.tasks.items.reading_worker import read
from royalty.tasks.items.stages import LocatedSource, ReadInputs, ReadOutputs
from royalty.tasks.items.stored_items import load_items
from royalty.tasks.stages.context import StageContext, open_stores, stage_context
from tests.conftest import Run, save_digits
from tests.flows.test_credit import result_of
from tests.in_process import inline_workers
from tests.paying import paying_home

LEFT_OUT = "Images that their contributors do not allow to train on are left out: Bob (2), Cyd (1)."
WITHDRAWN = "Images that were withdrawn are left out: Ada (1)."
COUNTED = "Images that their contributors do not allow to train on are trained on all the same: Bob (2), Cyd (1)."
REFUSED = {1: "notAllowed", 2: "constrained", 4: "no", 6: ""}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Thirty digits, of which two by Bob and one by Cyd may not train, and one by Ada states nothing."""
    save_digits(tmp_path / "photos", ["Ada", "Bob", "Cyd"] * 10)
    metadata = tmp_path / "photos" / "metadata.csv"
    stated = [REFUSED.get(row, "allowed") for row in range(30)]
    pd.read_csv(metadata).assign(training_mining=stated).to_csv(metadata, index=False)
    return tmp_path / "photos"


@pytest.fixture
def context(tmp_path: Path) -> StageContext:
    return stage_context(open_stores(tmp_path / "home", "", tmp_path / "weights", 1), "key", lambda _: None)


def table_of(photos: Path, **changed: Any) -> Path:
    """The same images in a Parquet file."""
    rows = pd.read_csv(photos / "metadata.csv", keep_default_na=False)
    image = [{"bytes": (photos / name).read_bytes(), "path": name} for name in rows["file_name"]]
    table = rows.drop(columns="file_name").assign(image=image).rename(columns=changed)
    table.to_parquet(photos.parent / "photos.parquet", row_group_size=7)
    return photos.parent / "photos.parquet"


@pytest.mark.parametrize("kind", ["folder", "parquet"])
def test_images_of_both_kinds_are_left_out_counted_or_an_error(photos: Path, context: StageContext, kind: str) -> None:
    path = photos if kind == "folder" else table_of(photos)

    def made(policy: Policy) -> ReadOutputs:
        return read(LocatedSource(str(path), ReadInputs("", 8, policy=policy)), context)

    everything = made(Policy())
    assert list(refusal_notes(everything)) == []
    whole = load_items(context.artifacts, everything.items)
    left = made(Policy("leave-out"))
    assert list(refusal_notes(left)) == [LEFT_OUT]
    assert (left.count, left.not_consented) == (27, {"Bob": 2, "Cyd": 1})
    kept = [row for row in range(30) if row not in (1, 2, 4)]
    items = load_items(context.artifacts, left.items)
    assert items.ids == tuple(whole.ids[row] for row in kept)
    assert whole.contributors is not None
    assert items.contributors == tuple(whole.contributors[row] for row in kept)
    counted = made(Policy("count"))
    assert (counted.count, list(refusal_notes(counted))) == (30, [COUNTED])
    with pytest.raises(InputError, match=r"3 of 30 images have a `training_mining` .* by contributor: Bob \(2\), Cyd"):
        made(Policy("error"))
    strict = made(Policy("leave-out", unstated=False))
    assert strict.not_consented == {"Ada": 1, "Bob": 2, "Cyd": 1}


def test_a_table_of_a_run_states_consent_as_a_folder_does(photos: Path) -> None:
    listing = parquet_images(table_of(photos), Columns())
    assert permitted(listing, Policy("leave-out")).not_consented == {"Bob": 2, "Cyd": 1}


def test_missing_columns_and_unknown_values(photos: Path, context: StageContext, tmp_path: Path) -> None:
    def made(path: Path, policy: Policy = Policy("error")) -> ReadOutputs:  # noqa: B008
        return read(LocatedSource(str(path), ReadInputs("", 8, policy=policy)), context)

    with pytest.raises(InputError, match="unknown column 'training-mining'; did you mean 'training_mining'"):
        made(table_of(photos, training_mining="training-mining"))
    without = table_of(photos, training_mining="other")
    assert made(without).count == 30
    with pytest.raises(InputError, match="30 of 30 images have no `training_mining` that allows training"):
        made(without, Policy("leave-out", unstated=False))
    rows = pd.read_csv(photos / "metadata.csv", keep_default_na=False)
    rows.loc[3, "training_mining"] = "perhaps"
    rows.to_csv(photos / "metadata.csv", index=False)
    for path in (photos, table_of(photos)):
        with pytest.raises(InputError, match=r"`training_mining` is `allowed`, .*; got 'perhaps'"):
            made(path)
    np.savez(tmp_path / "features.npz", features=np.eye(4))
    with pytest.raises(InputError, match=r"features such as .*features\.npz state none"):
        read_task.fn(tmp_path / "features.npz", 8, policy=Policy("count", unstated=False))


def test_what_was_withdrawn_is_left_out_of_images_and_features(photos: Path, tmp_path: Path) -> None:
    features = tmp_path / "features.npz"
    np.savez(features, features=np.eye(30), contributors=np.array(["Ada", "Bob;Cyd", "Ada:2;Dan:1"] * 10))
    ignoring = Policy()
    with paying_home(tmp_path / "home") as space, inline_workers():
        paths = [(photos, 30), (table_of(photos), 30), (features, 30)]
        before = [read_task.fn(path, 8, policy=ignoring) for path, _ in paths]
        assert [made.outputs.count for made in before] == [30, 30, 30]
        record_optout(space.acts, "clerk", "Cyd", ["2.png", "3.png"], "sold")
        record_optout(space.acts, "clerk", "Dan", [], "sold")
        after = [read_task.fn(path, 8, policy=ignoring) for path, _ in paths]
        assert [made.outputs.count for made in after] == [29, 29, 20]
        assert [made.outputs.withdrawn for made in after] == [{"Cyd": 1}, {"Cyd": 1}, {"Ada": 10, "Dan": 10}]
        assert not {made.key for made in before} & {made.key for made in after}
        items = load_items(space.artifacts, after[2].outputs.items)
        assert items.features is not None
        np.testing.assert_array_equal(items.features, np.delete(np.eye(30), np.arange(2, 30, 3), axis=0))
        assert [read_task.fn(path, 8).outputs.count for path, _ in paths] == [30, 30, 30], "they train nothing"
        for name in ("Ada", "Bob"):
            record_optout(space.acts, "clerk", name, [], "sold")
        with pytest.raises(InputError, match=r"features\.npz: images that were withdrawn .* and all 30 were"):
            read_task.fn(features, 8, policy=ignoring)


@pytest.mark.slow
@pytest.mark.cli
def test_every_command_leaves_out_what_may_not_train(royalty: Run, photos: Path, tmp_path: Path) -> None:
    commands = {
        ("detect",): "train: photos, val: photos, encoding: {encoder: pixels, size: 8}",
        ("select",): "train: photos, val: photos, budget: 26, encoding: {encoder: pixels, size: 8}",
        ("distance",): "first: photos, second: photos, encoding: {encoder: pixels, size: 8}",
        ("value", "lava"): "train: photos, val: photos, encoding: {encoder: pixels, size: 8}",
        (
            "value",
            "gmvaluator",
        ): "train: photos, generated: photos, size: 8, matching: {encoder: pixels, rerank: none, k: 5}",
        ("index", "build"): "model: a, train: photos, encoder: pixels, size: 8, k: 5",
    }
    optout = royalty("optout", "add", "--contributor", "Ada", "--work", "0.png", "--reason", "sold")
    assert optout.returncode == 0, optout.stderr
    for command, settings in commands.items():
        (tmp_path / "own.yaml").write_text(f"{{{settings}, consent: {{refused: leave-out}}}}")
        made = result_of(royalty(*command, "--config", "own.yaml", "--json"))
        assert (made["items"], made["notes"][:2]) == (26, [WITHDRAWN, LEFT_OUT]), command
    again = result_of(royalty("index", "add", "--model", "a", "--train", "photos", "--json"))
    assert (again["items"], again["notes"]) == (26, [WITHDRAWN, LEFT_OUT])  # the index keeps its rule
    (tmp_path / "own.yaml").write_text("{train: photos, val: photos, encoding: {encoder: pixels, size: 8}}")
    stopped = royalty("detect", "--config", "own.yaml")
    assert stopped.returncode == 1
    assert "3 of 29 images have a `training_mining` that does not" in " ".join(stopped.stderr.split())
