"""A run on fonts: designers are credited, and captions, licenses and styles reach every place where people look."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from royalty.flows.configuration import ConfigError, load_config
from royalty.flows.credit import CreditResult, credit
from royalty.flows.trace import trace
from royalty.infra.settings import settings
from royalty.infra.stores.packages import PackageError, package_files
from royalty.infra.workspace import Workspace, open_workspace
from royalty.models.base.errors import InputError
from royalty.models.data.stored import open_set
from royalty.tasks.config.sources import FontsSource
from royalty.tasks.credit.ingest import ingest, list_source
from royalty.tasks.credit.stages import INGEST, SAMPLES
from tests.fonts import save_font
from tests.in_process import inline_workers, own_home

OFL = "This Font Software is licensed under the SIL Open Font License, Version 1.1."
pytestmark = pytest.mark.xdist_group("letters")  # one process makes the run, once

DESIGNERS = ("Ann", "Bruno Leão", "Cy")

SMALL = """
data: {source: fonts, path: fonts, characters: ABC, size: 8, licences: {allow: [OFL-1.1], others: leave-out}}
classifier: {steps: 20}
generator: {conditional: true, steps: 10, batch_size: 16, block_channels: [8, 16]}
sampling: {images: 24, steps: 2}
pruning: {recovery_steps: 2}
coalitions: {count: 6, finetune_steps: 2, batch_size: 8}
credit: {bootstrap: 100}
matching: {encoder: pixels, images: 12}
"""


def save_fonts(folder: Path) -> Path:
    """Five faces of each designer under the OFL, and one of Dee, who keeps her rights."""
    for number, designer in enumerate(DESIGNERS):
        for weight in range(5):
            names = {"designer": designer, "licenseDescription": OFL, "styleName": f"W{weight}"}
            save_font(folder / f"{number}-{weight}.ttf", weight=60 + 25 * weight + 7 * number, names=names)
    save_font(folder / "dee.ttf", names={"designer": "Dee", "licenseDescription": "All rights reserved."})
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, prefect_url: str) -> tuple[Path, CreditResult]:
    """A folder with the home of a run, and its result."""
    folder = tmp_path_factory.mktemp("letters")
    save_fonts(folder / "fonts")
    (folder / "letters.yaml").write_text(SMALL)
    with own_home(folder / "home", prefect_url), inline_workers():
        return folder, credit(load_config(folder / "letters.yaml"))


@pytest.fixture
def space(run: tuple[Path, CreditResult], prefect_url: str) -> Iterator[Workspace]:
    """The workspace of the run."""
    with own_home(run[0] / "home", prefect_url):
        yield open_workspace(settings())


@pytest.mark.slow
def test_designers_are_credited_and_what_was_left_out_is_said(run: tuple[Path, CreditResult]) -> None:
    _, result = run
    assert sorted(row["contributor"] for row in result.rows) == list(DESIGNERS)
    report = (Path(result.folder) / "report.html").read_text()
    assert "Licenses of the images: OFL-1.1 (45)." in report
    assert "Images left out because of their license: All rights reserved. (3)." in report
    assert "These are of: Dee (3)." in report
    assert "Fonts: Test (OFL-1.1)." in report
    assert "none may be used, so that they are not credited: Dee." in report


@pytest.mark.slow
def test_the_report_shows_an_alphabet_of_everybodys_model(run: tuple[Path, CreditResult], space: Workspace) -> None:
    report = (Path(run[1].folder) / "report.html").read_text()
    (row,) = space.runs.stages(SAMPLES.name)
    samples = SAMPLES.finished(row)
    assert samples.inputs.classes == 3
    assert samples.outputs.shape[0] == 480
    legible = samples.outputs.legible["everybody"]
    assert 0 <= legible <= 1
    for label in "ABC":
        assert f'alt="Generated image of {label}"' in report
        assert f"Generated for <strong><bdi>{label}</bdi></strong>" in report, "figures of images and their sources"
    assert re.search(r"<bdi>[ABC] in Test W\d · OFL-1.1</bdi>", report), (
        "a caption of a training image, and its license"
    )
    assert f"reads {legible:.1%}" in " ".join(report.split())


@pytest.mark.slow
def test_captions_and_licenses_are_on_contributor_pages_and_in_tables(run: tuple[Path, CreditResult]) -> None:
    pages = "".join(page.read_text() for page in (Path(run[1].folder) / "contributors").glob("*.html"))
    assert " in Test W" in pages
    assert " · OFL-1.1" in pages


@pytest.mark.slow
def test_an_item_is_traced_to_its_font(space: Workspace) -> None:
    (row,) = space.runs.stages(INGEST.name)
    train = open_set(space.artifacts.verified(row.outputs["train"]))
    found = trace(train.ids[0])
    facts = dict(next(step.facts for step in found.steps if step.title == "Item"))
    caption = train.texts[0] if train.texts else ""
    assert facts["Caption"] == caption
    assert facts["License"] == "OFL-1.1"
    assert facts["Style"] == caption.split()[-1]
    assert facts["File"].endswith(".ttf")
    assert facts["Listed in"] == f"fonts/{facts['File']}, {facts['Label']!r}"


@pytest.mark.slow
def test_mlflow_has_licenses_and_captions(run: tuple[Path, CreditResult]) -> None:
    folder, result = run
    client = MlflowClient(f"sqlite:///{folder}/home/mlflow/mlflow.db")
    inputs = client.get_run(result.mlflow_run).inputs.dataset_inputs
    profile = json.loads(next(used.dataset.profile for used in inputs if used.dataset.name == "train"))
    assert profile["licenses"] == {"OFL-1.1": 45}
    assert profile["left_out_by_license"] == {"All rights reserved.": 3}
    assert profile["left_out_by_contributor"] == {"Dee": 3}
    for table in ("images.json", "values.json"):
        file = client.download_artifacts(result.mlflow_run, table)
        content = json.loads(Path(file).read_text())
        assert {"text", "license", "style"} <= set(content["columns"]), table
        assert "OFL-1.1" in content["data"][0]


def test_a_license_that_is_not_allowed_is_an_error_with_counts(tmp_path: Path) -> None:
    source = FontsSource.model_validate(
        {
            "source": "fonts",
            "path": save_fonts(tmp_path / "fonts"),
            "characters": "AB",
            "licences": {"allow": ["OFL-1.1"]},
        }
    )
    with pytest.raises(InputError, match=r"2 of 32 images have another: All rights reserved\. \(2\)"):
        list_source(source, 0, labels=True, texts=True)
    allowed = source.model_copy(update={"licences": source.licences.model_copy(update={"others": "leave-out"})})
    assert list_source(allowed, 0, labels=True, texts=True).without == ("Dee",)


@pytest.mark.slow
@pytest.mark.usefixtures("run")
def test_left_out_images_are_part_of_what_was_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROYALTY_HOME", str(tmp_path / "home"))
    settings.cache_clear()
    open_workspace.cache_clear()
    values = {"source": "fonts", "path": save_fonts(tmp_path / "fonts"), "characters": "ABC", "size": 8}
    chosen = FontsSource.model_validate({**values, "licences": {"allow": ["OFL-1.1"], "others": "leave-out"}})
    first = ingest.fn(chosen, 0)
    (tmp_path / "fonts" / "dee.ttf").unlink()
    second = ingest.fn(chosen, 0)
    assert first.key != second.key
    assert first.outputs.left_out_of == {"Dee": 3}
    nothing = {"left_out": {}, "left_out_of": {}, "without_images": []}
    assert replace(second.outputs, listed="") == replace(first.outputs, listed="", **nothing)


def test_fonts_of_packages_and_files(tmp_path: Path) -> None:
    installed, files = package_files("font-lato", (".ttf", ".otf"))
    assert installed.startswith("font-lato ")
    assert len(files) == 10
    file = save_font(tmp_path / "one.ttf", names={"designer": "Eve"})
    source = FontsSource.model_validate(
        {"source": "fonts", "packages": ["font-lato"], "files": [file], "characters": "AB", "exclude": ["*Italic*"]}
    )
    listing = list_source(source, 0, labels=True, texts=True).listing
    assert {entry.contributors for entry in listing.entries} == {("Eve",), ("Lukasz Dziedzic",)}
    assert listing.provenance(None)[1][0] == "one.ttf, 'A'"
    assert listing.provenance(None)[1][2] == f"{installed}, Lato-Black.ttf, 'A'"
    with pytest.raises(PackageError, match=r"'font-none' is not installed; run `pip install font-none`"):
        package_files("font-none", (".ttf",))
    with pytest.raises(PackageError, match=r"'pyyaml' has no file with the ending \.ttf"):
        package_files("pyyaml", (".ttf",))
    missing = source.model_copy(update={"files": (tmp_path / "two.ttf",)})
    with pytest.raises(InputError, match=r"there is no file .*two\.ttf"):
        list_source(missing, 0, labels=True, texts=True)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("{source: fonts}", "fonts come from `path`, `files` or `packages`, and none is set"),
        ("{source: fonts, path: f, characters: 12}", "`data.characters`: input should be a valid string"),
        ("{source: fonts, path: f, licenses: {}}", "unknown key `data.licenses`; did you mean `licences`"),
        ("{source: cifar, path: f, licences: {allow: []}}", "unknown key `data.licences`"),
        ("{source: fonts, path: f, licences: {others: skip}}", "`data.licences.others`: input should be 'error' or"),
    ],
)
def test_settings_of_fonts(tmp_path: Path, data: str, message: str) -> None:
    (tmp_path / "bad.yaml").write_text(f"data: {data}\n")
    with pytest.raises(ConfigError, match=message):
        load_config(tmp_path / "bad.yaml")


def test_paths_of_fonts_are_those_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("data: {source: fonts, path: fonts, files: [more/a.ttf], characters: ABA}\n")
    source = load_config(tmp_path / "own.yaml").data
    assert isinstance(source, FontsSource)
    assert source.path == tmp_path / "fonts"
    assert source.files == (tmp_path / "more" / "a.ttf",)
    assert source.characters == "AB"
