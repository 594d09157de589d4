"""The public summary of training content: what a run knows is in it, and the rest is left to the provider."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from royalty.flows.cli.app import app
from royalty.infra.stores.lineage import Edge
from royalty.infra.stores.runstore import StageRecord
from royalty.infra.workspace import Workspace
from royalty.models.base.errors import InputError
from royalty.tasks.credit.stages import INGEST, IngestInputs, IngestOutputs
from royalty.tasks.report.training_summary import OPEN, training_summary
from royalty.tasks.stages.stage import as_json
from tests.paying import credited, paying_home

IMAGES = IngestOutputs(
    train="a1" * 32,
    validation="b2" * 32,
    classifier="c3" * 32,
    contributors=["ann", "bob", "museum"],
    items={"ann": 3, "bob": 2, "museum": 1},
    contributor_digests=["d4" * 32] * 3,
    shared_items=1,
    total_items=5,
    licenses={"CC-BY-4.0": 4, "": 2},
    given={"given": 3, "by reference": 1, "": 2},
    sources={"studio of ann": 4, "": 2},
    years={"1998": 1, "2021": 3, "": 2},
    left_out={"CC-BY-NC": 7},
    withdrawn={"ann": 2, "bob": 1},
    manifests=4,
    refused={"bob": 3},
    refused_left_out=True,
    not_consented={"ann": 4},
    not_consented_left_out=True,
    public=["museum"],
)


@pytest.fixture
def space(tmp_path: Path) -> Iterator[Workspace]:
    with paying_home(tmp_path / "home") as space:
        credited(space, "show", {"ann": 2.0, "bob": 1.0})
        yield space


def record(space: Workspace, images: IngestOutputs) -> None:
    """The images of the run, from which its credit comes."""
    inputs = IngestInputs({"size": 8}, 0, files="f" * 64)
    found = space.ledger.credit_of("show")
    assert found is not None
    edges = [Edge(found[1], "images", "train", "images")]
    space.runs.record_stage(StageRecord(INGEST.name, "images", as_json(inputs), as_json(images), 0.0), edges)


def test_what_a_run_knows_is_in_its_summary(space: Workspace, tmp_path: Path) -> None:
    record(space, IMAGES)
    done = CliRunner().invoke(app, ["audit", "training-summary", "show", "--out", str(tmp_path / "summary.md")])
    assert done.exit_code == 0, done.exception
    text = (tmp_path / "summary.md").read_text()
    assert f"{text.count(OPEN)} entries are to be stated" in done.output
    assert text.count(OPEN) == 9
    for fact in (
        "less than 1 million images (5 distinct images",
        "1998 to 2021",
        r"CC\-BY\-4\.0: 4 images",
        "not stated: 2 images",
        "Consent of contributors, by images: given 3, by reference 1, not stated 2.",
        "Of 4 images the records state where they were obtained.",
        "3 images withdrawn by their contributors",
        "7 images left out because of their licence",
        "4 images that their contributors do not allow to train on, not trained on",
        "3 images whose Content Credentials refuse training, not trained on",
        "2 contributors are credited",
    ):
        assert fact in text
    assert "ann" not in text.replace("understanding", ""), "the summary is public, and names nobody"


def test_sizes_have_the_classes_of_the_template(space: Workspace) -> None:
    record(space, replace(IMAGES, total_items=10**6))
    assert "1 million to 1 billion images (1,000,000" in training_summary(space, "show")


def test_a_run_without_credit_has_none(space: Workspace) -> None:
    with pytest.raises(InputError, match="there are show"):
        training_summary(space, "other")
