"""A change of consent is a revaluation: it is seen, names the contributor, and the next credit is without the image."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

from royalty.flows.configuration import load_config
from royalty.flows.credit import CreditResult, credit
from royalty.flows.revalue import Revaluation, revalue
from royalty.infra.ledger.optouts import record_optout
from royalty.infra.settings import settings
from royalty.infra.workspace import open_workspace
from royalty.models.base.errors import InputError
from royalty.models.data.stored import open_set
from royalty.tasks.credit.stages import INGEST
from tests.conftest import FOLDER, save_digits
from tests.in_process import inline_workers, own_home

pytestmark = pytest.mark.slow

CONFIG = FOLDER.replace("size: 8", "size: 8, consent: {refused: leave-out}").replace("post: true, ", "")


def trained_on() -> set[str]:
    """IDs of all images of the last reading."""
    space = open_workspace(settings())
    outputs = INGEST.finished(space.runs.stages(INGEST.name)[-1]).outputs
    parts = (outputs.train, outputs.classifier, outputs.validation)
    return {identity for part in parts for identity in open_set(space.artifacts.verified(part)).ids}


def test_a_column_and_an_opt_out_are_revalued(tmp_path: Path, prefect_url: str) -> None:
    save_digits(tmp_path / "images", ["ann", "bob", "cy"] * 40)
    metadata = tmp_path / "images" / "metadata.csv"
    table = pd.read_csv(metadata).assign(training_mining="allowed")
    table.to_csv(metadata, index=False)
    (tmp_path / "mine.yaml").write_text(CONFIG)
    with own_home(tmp_path / "home", prefect_url), inline_workers():
        config = load_config(tmp_path / "mine.yaml")
        credit(config)
        everything = trained_on()
        table.loc[table.contributor == "ann", "training_mining"] = ["notAllowed"] * 10 + ["allowed"] * 30
        table.to_csv(metadata, index=False)
        dry: Revaluation = revalue(config, dry_run=True)
        assert (dry.change.changed, dry.change.images_removed, dry.change.images_added) == (("ann",), 10, 0)
        first: Revaluation = revalue(config)
        assert isinstance(first.result, CreditResult)
        assert trained_on() < everything
        note = "Images that their contributors do not allow to train on are left out: ann (10)."
        assert note in (Path(first.result.folder) / "report.html").read_text()
        client = MlflowClient(f"sqlite:///{tmp_path}/home/mlflow/mlflow.db")
        used = client.get_run(first.result.mlflow_run).inputs.dataset_inputs
        profile = json.loads(next(each.dataset.profile for each in used if each.dataset.name == "train"))
        assert profile["refused_by_consent"] == {"ann": 10}
        assert profile["training_mining"] == {"allowed": 110}
        assert not revalue(config).change.found

        before = trained_on()
        files = table.file_name[table.contributor == "bob"].tolist()[:5]
        record_optout(open_workspace(settings()).acts, "agent", "bob", files, "sold")
        second: Revaluation = revalue(config)
        assert (second.change.changed, second.change.images_removed) == (("bob",), 5)
        assert len(before - trained_on()) == 5


def test_a_refusal_in_the_register_is_revalued(tmp_path: Path, prefect_url: str) -> None:
    save_digits(tmp_path / "images", ["ann", "bob", "cy"] * 40)
    register = tmp_path / "images" / "consent.csv"
    register.write_text("contributor,consent\nann,given\nbob,given\n")
    (tmp_path / "mine.yaml").write_text(CONFIG)
    with own_home(tmp_path / "home", prefect_url), inline_workers():
        config = load_config(tmp_path / "mine.yaml")
        credit(config)
        table = pd.read_csv(tmp_path / "images" / "metadata.csv")
        name = table.file_name[table.contributor == "bob"].iloc[0]
        register.write_text(f"contributor,file_name,consent\nann,,given\nbob,{name},withdrawn\n")
        dry: Revaluation = revalue(config, dry_run=True)
        assert (dry.change.changed, dry.change.images_removed, dry.change.images_added) == (("bob",), 1, 0)


def test_without_a_choice_a_refusal_stops_the_run(tmp_path: Path, prefect_url: str) -> None:
    save_digits(tmp_path / "images", ["ann", "bob", "cy"] * 4)
    metadata = tmp_path / "images" / "metadata.csv"
    pd.read_csv(metadata).assign(training_mining=["no"] + ["yes"] * 11).to_csv(metadata, index=False)
    (tmp_path / "mine.yaml").write_text(FOLDER)
    with own_home(tmp_path / "home", prefect_url), pytest.raises(InputError, match=r"by contributor: ann \(1\)"):
        credit(load_config(tmp_path / "mine.yaml"))
