"""Content Credentials of training images count wherever images are read, by the rule and in the words of a run."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from royalty.models.base.choices import Refusing
from royalty.models.base.errors import InputError
from royalty.models.base.policy import Policy
from royalty.models.data.permission import refusal_notes
from royalty.tasks.items.reading_worker import read
from royalty.tasks.items.stages import LocatedSource, ReadInputs, ReadOutputs
from royalty.tasks.items.stored_items import load_items
from royalty.tasks.stages.context import open_stores, stage_context
from tests.certificates import issued
from tests.conftest import Run, save_digits
from tests.flows.test_credit import result_of

pytest.importorskip("c2pa", reason="no c2pa-python; get it by `pip install 'royalty[c2pa]'`")

LEFT_OUT = [
    "Images with Content Credentials: 2.",
    "Images whose Content Credentials refuse training are left out: Bob (1).",
]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Thirty digits, of which the second refuses training and the third names its author."""
    from tests.models.test_credentials import author, authored, mining

    studio = issued()
    files = save_digits(tmp_path / "photos", ["Ada", "Bob", "Cyd"] * 10)
    for file, assertion in ((files[1], mining("notAllowed")), (files[2], author("A. Lovelace"))):
        file.write_bytes(authored(studio, file.read_bytes(), assertion))
    return tmp_path / "photos"


def table_of(photos: Path) -> Path:
    """The same images in a Parquet file."""
    rows = pd.read_csv(photos / "metadata.csv").rename(columns={"file_name": "path"})
    image = [{"bytes": (photos / name).read_bytes(), "path": name} for name in rows["path"]]
    rows.drop(columns="path").assign(image=image).to_parquet(photos.parent / "photos.parquet", row_group_size=7)
    return photos.parent / "photos.parquet"


@pytest.mark.parametrize("kind", ["folder", "parquet"])
def test_images_of_both_kinds_are_left_out_counted_or_an_error(photos: Path, tmp_path: Path, kind: str) -> None:
    path = photos if kind == "folder" else table_of(photos)
    context = stage_context(open_stores(tmp_path / "home", "", tmp_path / "weights", 1), "key", lambda _: None)

    def made(refusing: Refusing) -> ReadOutputs:
        return read(LocatedSource(str(path), ReadInputs("", 8, policy=Policy(credentials=refusing))), context)

    assert list(refusal_notes(made("ignore"))) == []
    everything = load_items(context.artifacts, made("ignore").items)
    left = made("leave-out")
    assert list(refusal_notes(left)) == LEFT_OUT
    items = load_items(context.artifacts, left.items)
    assert items.ids == (everything.ids[0], *everything.ids[2:])
    assert items.described["creator"][:3] == ("", "A. Lovelace", "")
    for kept, whole in ((items.file_names, everything.file_names), (items.sources, everything.sources)):
        assert kept is not None
        assert whole is not None
        assert kept == (whole[0], *whole[2:])
    assert items.labels is not None
    assert everything.labels is not None
    assert items.labels.tolist() == [everything.labels[0], *everything.labels[2:]]
    counted = made("count")
    assert counted.count == 30
    assert list(refusal_notes(counted))[1].endswith("refuse training are trained on all the same: Bob (1).")
    with pytest.raises(InputError, match=r"1 of 30 images have Content Credentials that refuse training, such as"):
        made("error")


@pytest.mark.slow
@pytest.mark.cli
def test_other_readers_of_training_images_leave_out_what_refuses_training(royalty: Run, photos: Path) -> None:
    encoded = "encoding: {encoder: pixels, size: 8, representation: features}, credentials: {refused: leave-out}"
    for command, sides in {
        "detect": "train: photos, val: photos",
        "select": "train: photos, val: photos, budget: 29",
        "distance": "first: photos, second: photos",
    }.items():
        (photos.parent / "own.yaml").write_text(f"{{{sides}, {encoded}}}")
        made = result_of(royalty(command, "--config", "own.yaml", "--json"))
        assert (made["items"], made["notes"][:2]) == (29, LEFT_OUT)
        if command == "detect":
            assert LEFT_OUT[1] in Path(made["folder"], "detected.html").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.cli
def test_indexes_and_values_leave_out_what_refuses_training(royalty: Run, photos: Path, tmp_path: Path) -> None:
    refused = "credentials: {refused: leave-out}"
    (tmp_path / "index.yaml").write_text(f"{{model: a, train: photos, encoder: pixels, size: 8, k: 5, {refused}}}")
    (tmp_path / "gmvaluator.yaml").write_text(
        f"{{train: photos, generated: photos, size: 8, matching: {{encoder: pixels, rerank: none, k: 5}}, {refused}}}"
    )
    (tmp_path / "lava.yaml").write_text(
        f"{{train: photos, val: photos, encoding: {{encoder: pixels, size: 8}}, {refused}}}"
    )
    for arguments in (["index", "build"], ["value", "gmvaluator"], ["value", "lava"]):
        done = royalty(*arguments, "--config", f"{arguments[1].replace('build', 'index')}.yaml", "--json")
        made = result_of(done)
        assert (made["items"], made["notes"]) == (29, LEFT_OUT)
    again = result_of(royalty("index", "add", "--model", "a", "--train", "photos", "--json"))
    assert (again["items"], again["notes"]) == (29, LEFT_OUT)  # the index keeps its rule
    (tmp_path / "index.yaml").write_text("{model: a, train: photos, credentials: {refused: stop}}")
    assert "'ignore', 'count', 'leave-out' or 'error'" in royalty("index", "build", "--config", "index.yaml").stderr
