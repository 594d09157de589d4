"""Tables of values and contributor pages name the files of an item, those of all its copies."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from royalty.flows import credit as crediting
from royalty.flows.cli.app import _print_forecast
from royalty.infra.processes.progress import shown_on
from royalty.infra.settings import settings
from royalty.infra.stores.artifacts import ArtifactStore
from royalty.infra.workspace import open_workspace
from royalty.models.data.credited import read_images
from royalty.models.data.folder import read_manifest
from royalty.models.data.labelled import read_items
from royalty.models.data.stored import open_set
from royalty.models.valuation.certainty import Certainty
from royalty.tasks.config.sources import FolderSource, OpenmojiSource
from royalty.tasks.credit.ingest import ingest
from royalty.tasks.credit.listed import about_of, columns_of, digest_of_names, files_of, keep_listed
from royalty.tasks.credit.stopping import Verdict
from royalty.tasks.report.notes import attribution, data_notes
from royalty.tasks.report.stage_runs import _ingest_run, datasets
from royalty.tasks.report.trace_id import identify
from tests.drawn import openmoji_archive


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twelve images of ann and bob; bob's `bob/copy.png` is a copy of `0.png`, which is ann's."""
    folder, rows = tmp_path / "photos", ["file_name,contributor,label"]
    (folder / "bob").mkdir(parents=True)
    for index in range(12):
        pixels = np.random.default_rng(index).integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
        rows.append(f"{index}.png,{'ann' if index % 2 == 0 else 'bob'},{'xy'[index // 2 % 2]}")
    (folder / "bob" / "copy.png").write_bytes((folder / "0.png").read_bytes())
    rows.append("bob/copy.png,bob,x")
    (folder / "metadata.csv").write_text("\n".join(rows))
    return folder


def test_an_item_of_a_run_names_all_files_of_its_copies(photos: Path, tmp_path: Path) -> None:
    artifacts, listing = ArtifactStore(tmp_path / "artifacts"), read_manifest(photos)
    read = read_images(listing, size=8, validation=0.1, classifier=0.1, seed=0)
    provenance = listing.provenance(photos)
    owners = [entry.contributors for entry in listing.entries]
    digest = keep_listed(artifacts, read.ids, provenance, owners, listing.described())
    columns = columns_of(artifacts, digest, [read.ids[0], read.ids[5]])
    assert columns == {
        "file_name": ("0.png; bob/copy.png", "5.png"),
        "source": ("photos/metadata.csv, row 2; photos/metadata.csv, row 14", "photos/metadata.csv, row 7"),
        "label": ("x", "x"),
    }
    assert about_of(artifacts, digest, read.ids) == {}
    files = files_of(artifacts, digest)
    assert files["ann"][read.ids[0]] == "0.png"  # each is told their own files alone
    assert files["bob"][read.ids[0]] == "bob/copy.png"
    assert digest_of_names(provenance) != digest_of_names(listing.provenance(photos.parent))


def test_copies_stay_rows_of_a_valuation(photos: Path) -> None:
    items = read_items(photos, size=8)
    table = pd.DataFrame(items.columns())
    assert list(table) == ["id", "file_name", "source", "label", "contributor"]
    copies = table[table["id"] == items.ids[0]]
    assert copies["file_name"].tolist() == ["0.png", "bob/copy.png"]
    assert copies["source"].tolist() == ["photos/metadata.csv, row 2", "photos/metadata.csv, row 14"]


@pytest.mark.usefixtures("new_home")
def test_a_renamed_file_changes_names_and_nothing_that_is_trained(photos: Path) -> None:
    source = FolderSource(source="folder", path=photos, size=8)
    first = ingest.fn(source, 0)
    (photos / "5.png").rename(photos / "five.png")
    metadata = (photos / "metadata.csv").read_text()
    (photos / "metadata.csv").write_text(metadata.replace("5.png", "five.png"))
    second = ingest.fn(source, 0)
    assert second.outputs.listed != first.outputs.listed
    assert replace(second.outputs, listed="") == replace(first.outputs, listed="")
    total = {name: first.outputs.items[name] + first.outputs.held_out[name] for name in ("ann", "bob")}
    assert total == {"ann": 6, "bob": 7}


@pytest.mark.parametrize(("measured", "said"), [(4, 1), (2, 0)])
def test_a_pilot_that_is_the_whole_measuring_says_so_before_it(
    monkeypatch: pytest.MonkeyPatch, measured: int, said: int
) -> None:
    sentences: list[str] = []

    class Plan:
        members = ("ann",)
        drawn = None

    monkeypatch.setattr(crediting, "prepare", lambda _config: crediting.Game(None, None, None, None, None))
    monkeypatch.setattr(crediting, "settle_images", lambda *_: Config)
    monkeypatch.setattr(crediting, "plan", lambda *_: [Plan()] * 4)
    monkeypatch.setattr(crediting, "first_look", lambda *_: measured)
    monkeypatch.setattr(crediting, "unfinished", list)
    monkeypatch.setattr(crediting, "measure_all", lambda *_: sentences.append("measured"))
    monkeypatch.setattr(crediting, "assess", lambda *_: None)

    class Config:
        class coalitions:
            timeout_minutes = 1.0
            pipelines = 1

    with shown_on(lambda *_: None, sentences.append):
        crediting.forecast.fn(Config)
    assert sentences[-1] == "measured"
    assert len(sentences) == said + 1
    assert all("as long as the measuring of the run" in sentence for sentence in sentences[:-1])


def test_a_forecast_is_printed_in_readable_times(capsys: pytest.CaptureFixture[str]) -> None:
    certainty = Certainty(6, 0.5, None, 0.123, 1.0, reached=False, needed=None)
    verdict = Verdict(certainty, plans=8, budget=6, seconds=14.92, workers=2)
    _print_forecast(verdict, as_json=False)
    shown = capsys.readouterr().out
    assert "14.9 s" in shown
    assert "no coalitions are left to measure: the pilot has measured all of them" in shown
    assert "hours" not in shown
    _print_forecast(replace(verdict, budget=1000), as_json=False)
    shown = capsys.readouterr().out
    assert "994 more coalitions" in shown
    assert "about 2 h 4 min more with 2 workers" in shown


@pytest.mark.usefixtures("new_home")
def test_caption_license_and_date_of_a_drawing_reach_trace_mlflow_and_report(tmp_path: Path) -> None:
    rows = [
        (f"1F{n:03d}", "ab"[n % 2], f"sign {n}", ("Ada", "Bo")[n // 10], f"20{18 + n}-06-01", "") for n in range(20)
    ]
    archive = openmoji_archive(tmp_path / "openmoji.tgz", rows)
    source = OpenmojiSource(source="openmoji", path=archive, size=8, least=1)
    done = ingest.fn(source, 0, texts=True)
    space = open_workspace(settings())
    train = open_set(space.artifacts.path(done.outputs.train))
    assert train.texts is not None
    drawn = {f"sign {n}": f"20{18 + n}-06-01" for n in range(20)}
    assert about_of(space.artifacts, done.outputs.listed, train.ids) == {
        identity: f"{text} · CC BY-SA 4.0 · {drawn[text]}"
        for identity, text in zip(train.ids, train.texts, strict=True)
    }
    facts, text = dict(identify(space, train.ids[0]).facts), train.texts[0]
    assert (facts["Caption"], facts["License"], facts["Date"]) == (text, "CC BY-SA 4.0", drawn[text])
    assert "trained on, of" in "".join(facts.values())
    profile = datasets(done.outputs)[0].profile
    assert profile["licenses"] == {"CC BY-SA 4.0": 20}
    assert profile["years"] == {f"20{year}": 1 for year in range(18, 38)}
    assert "Years in which the images were made: 2018 (1), 2019 (1)" in " ".join(data_notes(done.outputs))
    images = _ingest_run(space, done).tables["images.json"]
    assert dict(zip(images["text"], images["date"], strict=True)) == drawn
    (line,) = attribution(source, space.artifacts, done.outputs.listed)
    stated = files("royalty.models.data").joinpath("tables", "openmoji-ATTRIBUTION.txt").read_text(encoding="utf-8")
    assert line.removesuffix(").") in " ".join(stated.split())


@pytest.mark.usefixtures("new_home")
def test_authors_behind_others_are_named_with_their_drawings(tmp_path: Path) -> None:
    authors = [*["Ada"] * 10, *["Bo"] * 10, "Cy", "Dee"]
    rows = [(f"1F{n:03d}", "ab"[n % 2], f"sign {n}", author, "2018-06-01", "") for n, author in enumerate(authors)]
    archive = openmoji_archive(tmp_path / "openmoji.tgz", rows)
    done = ingest.fn(OpenmojiSource(source="openmoji", path=archive, size=8, least=3), 0, texts=True)
    space = open_workspace(settings())
    listed = pd.read_parquet(space.artifacts.path(done.outputs.listed)).set_index("text")
    assert listed["author"].to_dict() == {f"sign {n}": "" if n < 20 else authors[n] for n in range(22)}
    assert listed.loc["sign 20", "contributors"].tolist() == ["others"]
    identity = str(listed.loc["sign 20", "id"])
    about = about_of(space.artifacts, done.outputs.listed, [identity])
    assert about == {identity: "sign 20 · Cy · CC BY-SA 4.0 · 2018-06-01"}
    assert "Author" not in dict(identify(space, str(listed.loc["sign 0", "id"])).facts)
    assert dict(identify(space, identity).facts)["Author"] == "Cy"


@pytest.mark.usefixtures("new_home")
def test_consent_of_a_register_and_sources_reach_trace_mlflow_and_report(photos: Path) -> None:
    table = pd.read_csv(photos / "metadata.csv").assign(license=["CC-BY-4.0", *["all mine"] * 12])
    table.assign(source=["studio", *[""] * 12]).to_csv(photos / "metadata.csv", index=False)
    (photos / "consent.csv").write_text("contributor,consent,consent_date\nann,contract-7,2026-05-01\nbob,unknown,\n")
    done = ingest.fn(FolderSource(source="folder", path=photos, size=8), 0)
    space, profile = open_workspace(settings()), datasets(done.outputs)[0].profile
    assert profile["consent"] == {"unknown": 7, "by reference": 6}
    assert profile["obtained_from"] == {"": 12, "studio": 1}
    notes = " ".join(data_notes(done.outputs))
    assert "Consent of contributors, by images: unknown (7), by reference (6)." in notes
    assert "Where the images were obtained: not stated (12), studio (1)." in notes
    assert "Licenses that are no known SPDX identifiers: all mine. Correct them" in notes
    listed = pd.read_parquet(space.artifacts.path(done.outputs.listed)).set_index("file_name")
    facts = dict(identify(space, str(listed.loc["0.png", "id"])).facts)
    assert (facts["Consent"], facts["Date of the consent"]) == ("contract-7; unknown", "2026-05-01")
    assert facts["Obtained from"] == "studio"
