"""MLflow's runs and the pages of a finished run, made from its stages alone: nothing is trained."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from PIL import Image

from royalty.infra.ledger.optouts import record_optout
from royalty.infra.pages.contributors import file_of
from royalty.infra.pages.language import shipped_language
from royalty.infra.pages.pictures import sheet
from royalty.infra.servers.loopback import QUIET, mlflow_server
from royalty.infra.settings import Settings
from royalty.infra.stores.artifacts import ArtifactStore, StoreError
from royalty.infra.tracking.addresses import MODE, run_page
from royalty.infra.tracking.client import open_tracking
from royalty.models.data.stored import open_set
from royalty.models.valuation.image_parts import divide_credit
from royalty.tasks.credit.estimate import load_table
from royalty.tasks.credit.stages import SAMPLES, SampleInputs, SampleOutputs
from royalty.tasks.items.copied_images import CopiedImage
from royalty.tasks.items.image_credit_stages import IMAGE_CREDIT, ImageCreditInputs, ImageCreditOutputs
from royalty.tasks.items.match_pictures import match_section
from royalty.tasks.items.stored_items import load_items
from royalty.tasks.judge.gallery_stage import WRITE_GALLERY
from royalty.tasks.pay.stages import PAY
from royalty.tasks.pay.usage_stages import USAGE, USE, UsageInputs, UsageOutputs, UseInputs, UseOutputs
from royalty.tasks.report.background import Background
from royalty.tasks.report.coalition_runs import logged_coalitions
from royalty.tasks.report.model_card import model_card
from royalty.tasks.report.notes import value_of
from royalty.tasks.report.payment_pages import show_on_pages
from royalty.tasks.report.payments import show_payments
from royalty.tasks.report.report import write_report
from royalty.tasks.report.show_gallery import show_gallery
from royalty.tasks.report.stages import TRACK, RunStages, WrittenReport
from royalty.tasks.report.trace import trace_target
from royalty.tasks.report.trace_id import identify
from royalty.tasks.report.track import track
from royalty.tasks.stages.publishing import PublishInputs, PublishOutputs
from tests.browser import Browser
from tests.ledgers import euros
from tests.tracing import Home, Recorder, made_up

SPLIT = "royalty.tasks.report.track", "royalty.tasks.report.report", "royalty.tasks.stages.running"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    here = Settings(home=tmp_path / "home")
    for module in SPLIT:
        monkeypatch.setattr(f"{module}.settings", lambda: here)
    return made_up(here.root)


def logged(home: Home) -> RunStages:
    """The stages of a made-up home, logged to MLflow as those of another run."""
    stages = replace(home.stages, track=None)
    return replace(stages, track=track.fn("june", home.config.claimed(), stages, home.plans))


def reported(home: Home, stages: RunStages, language: str = "en") -> WrittenReport:
    timings, texts = [("train", "1.0 s", "0.9 s", "")], shipped_language(language)
    return write_report.fn("june", home.config, stages, timings, ["A <note>."], ["A check."], texts)


def test_mlflow_shows_every_stage_and_coalition(home: Home) -> None:
    stages = logged(home)
    outputs = stages.logged_run.outputs
    assert set(outputs.runs) == {*home.stages.keys.values(), *(plan.key for plan in home.plans)} - {
        home.stages.logged_run.key
    }
    client = open_tracking(Settings(home=home.space.root)).client
    run = client.get_run(outputs.run)
    assert run.data.tags["royalty.credit_table"] == stages.credit.outputs.table
    assert run.data.tags["royalty.statement"] == home.statement
    assert run.data.metrics["utility/everybody"] == 2.0
    assert run.data.metrics["utility/pruned"] == 1.0
    groups = {name.rpartition("/")[0] for name in run.data.metrics}
    assert groups == {"credit", "loss", "step_seconds", "utility", "utility_stderr"}, "MLflow shows a section each"
    assert run.data.tags["mlflow.user"]
    assert {given.dataset.name for given in run.inputs.dataset_inputs} == {"train", "validation", "classifier"}
    models = {
        model.name: model for made in run.outputs.model_outputs if (model := client.get_logged_model(made.model_id))
    }
    assert set(models) == {"base", "pruned"}
    assert "weights" in models["base"].tags["mlflow.note.content"]
    assert "royalty-june" in models["base"].tags["mlflow.modelVersions"]
    names = {client.get_run(made).info.run_name for made in outputs.runs.values()}
    assert names >= {"ingest", "classifier", "train", "prune", "measure", "credit", "pay", "gmvaluator"}
    base = client.get_run(outputs.runs[stages.train.key])
    assert (base.data.params["training.steps"], base.data.metrics["loss"]) == ("60", 0.25)
    curves = [client.get_metric_history(*of) for of in ((base.info.run_id, "loss"), (outputs.run, "loss/base"))]
    assert [[(point.step, point.value) for point in curve] for curve in curves] == [[(1, 0.5), (2, 0.25)]] * 2
    assert base.info.end_time - base.info.start_time == 1_000
    assert run.info.start_time <= base.info.start_time
    by_size = client.get_metric_history(outputs.run, "utility/by_size")
    assert [(point.step, point.value) for point in by_size] == [(0, 0.0), (1, 1.0), (2, 2.0)]
    measured = client.get_run(outputs.runs[stages.measure.key]).data.metrics
    assert (measured["utility/real"], measured["step_seconds/base"]) == (1.0, 0.1)
    version = client.get_model_version_by_alias("royalty-june", "credited")
    assert stages.train.outputs.model in str(version.description)
    assert version.run_id == outputs.run
    card = client.get_registered_model("royalty-june").description
    for text in ("Inception Score", "- ann: +1.0000 (", "), 3 images", "not stated: 6 images", "## Limits"):
        assert text in card, text
    assert "|" not in card, "MLflow shows tables without space between columns"
    again = track.fn("june", home.config.claimed(), replace(stages, track=None), home.plans)
    assert (again.reused, again.outputs) == (True, outputs)


def test_parts_of_images_are_on_the_pages_in_a_table_and_in_mlflow(home: Home) -> None:
    """Ann has three images and a negative credit, Bob four, whose amount is divided to the cent."""
    train = open_set(home.space.artifacts.verified(home.stages.ingest.outputs.train))
    items, owners = np.nonzero(train.membership)
    order = np.lexsort((items, owners))
    shares = np.array([0.5, 0.3, 0.2, 1 / 3, 1 / 3, 1 / 3, 0.0])
    table = pd.DataFrame(
        {
            "contributor": [train.contributors[owners[row]] for row in order],
            "id": [train.ids[items[row]] for row in order],
            "share": shares,
            "credit": divide_credit(shares, owners[order], [-1.0, 1.0]),
        }
    )
    recorder, outputs = Recorder(home.space, {}), home.stages.ingest.outputs
    images = recorder.finished(
        IMAGE_CREDIT,
        ImageCreditInputs(
            home.stages.credit.outputs.table, outputs.train, outputs.validation, "", "pixels", references=9, seed=0
        ),
        ImageCreditOutputs(
            recorder.table(table), images=7, references=3, scale=1.0, compared={"ann": 0, "bob": 3}, busy_seconds=1.0
        ),
    )
    stages = logged(replace(home, stages=replace(home.stages, images=images)))
    kept = RunStages.kept(home.space, stages.keys.values())
    assert kept.images is not None
    assert kept.images.outputs == images.outputs
    folder = Path(reported(home, stages).folder)
    parts = pd.read_csv(folder / "image-credit.csv")
    assert parts["amount"].tolist() == [250.0, 150.0, 100.0, 166.67, 166.67, 166.66, 0.0]
    assert parts["credit"].tolist() == pytest.approx([-1 / 6, -1.1 / 3, -1.4 / 3, 1 / 3, 1 / 3, 1 / 3, 0.0])
    page = " ".join(re.sub(r"<[^>]+>", " ", (folder / file_of("bob")).read_text(encoding="utf-8")).split())
    assert "divided among the 4 images trained on. An image has a larger part if" in page
    assert re.search(r"1\. \+0\.33\S* 33\.3% · €166\.67 ", page)
    assert "Every image has an equal part" in (folder / file_of("ann")).read_text(encoding="utf-8")
    client = open_tracking(Settings(home=home.space.root)).client
    run = stages.logged_run.outputs.run
    assert {file.path for file in client.list_artifacts(run)} >= {"image-credit.json", "image-credit.csv"}
    traced = trace_target(home.space, images.outputs.table, identify(home.space, images.outputs.table))
    assert [step.title for step in traced.steps if step.asked] == ["Credit of images"]


def test_a_report_shows_the_gallery_of_its_credit_as_soon_as_there_is_one(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Settings(home=home.space.root)
    monkeypatch.setattr("royalty.tasks.report.show_gallery.settings", lambda: here)
    monkeypatch.setattr("royalty.tasks.report.payment_pages.settings", lambda: here)
    stages, credit = logged(home), home.stages.credit.key
    report = Path(reported(home, stages).folder) / "report.html"
    assert "No gallery was made of this credit" in report.read_text(encoding="utf-8")
    recorder = Recorder(home.space, {})
    titles = ["everybody", "without the 1 of highest credit", "nobody"]
    images = {title: home.space.artifacts.put(bytes([shade]) * 128) for shade, title in enumerate(titles)}
    sampled = recorder.finished(SAMPLES, SampleInputs({}, 2, {}, 0), SampleOutputs(images, [2, 1, 8, 8], 1.0))
    table = (
        "models,contributors,property,value,low,high,seeds\neverybody,2,fid,-2.5,-2.75,-2.25,2\n"
        "without the 1 of highest credit,1,fid,-4,,,1\nnobody,0,fid,-9,-9.5,-8.5,2\nonly <b>ann</b>,1,fid,-3,-3,-3,2\n"
        "everybody,2,kid,-7,-7,-7,2\n"
    )
    page = '<html lang="en"><body><p>All of the gallery</p></body></html>'
    files = {"gallery.csv": recorder.put(table), "gallery.html": recorder.put(page)}

    def made(of: str, name: str = "june") -> None:
        inputs = PublishInputs(name, f"{name}-gallery", {"credit": of, "samples": sampled.key}, {})
        recorder.finished(WRITE_GALLERY, inputs, PublishOutputs("f" * 32, files))

    made("of another credit")
    assert show_gallery.fn("june", credit) == str(report)
    assert "No gallery was made" in report.read_text(encoding="utf-8")
    made(credit)
    assert "`royalty run` writes it" in show_gallery.fn("june", "of another credit")
    assert "`royalty run` writes it" in show_gallery.fn("july", credit)
    assert show_gallery.fn("june", credit) == str(report)
    html = report.read_text(encoding="utf-8")
    text = " ".join(re.sub(r"<[^>]+>", " ", html).split())
    assert "No gallery was made" not in text
    assert 'href="gallery.html"' in html
    assert html.count('alt="Images by the model of ') == 3
    assert re.search(
        r"everybody \u22122\.50* \u22122\.750* to \u22122\.250* without the 1 of highest credit \u22124\.0+ nobody",
        text,
    )
    assert "ann</b>" not in html.partition('id="gallery"')[2].partition("</section>")[0]
    client = open_tracking(here).client
    kept = Path(client.download_artifacts(stages.logged_run.outputs.run, "report.html")).read_text(encoding="utf-8")
    assert 'href="#page-gallery"' in kept
    assert re.search(r'id="page-gallery" lang="en">\s*<p>All of the gallery', kept)
    assert Path(reported(home, stages).folder) == report.parent, "and a run that is repeated keeps it"
    assert 'href="gallery.html"' in report.read_text(encoding="utf-8")


def test_mlflow_shows_what_was_paid_later_released_and_replaced(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    here = Settings(home=home.space.root)
    monkeypatch.setattr("royalty.tasks.report.payments.settings", lambda: here)
    client = open_tracking(here).client
    unpaid = replace(home.stages.credit, outputs=replace(home.stages.credit.outputs, table=other_table(home)))
    stages = logged(replace(home, stages=replace(home.stages, credit=unpaid)))
    run = stages.logged_run.outputs.run

    def shown() -> tuple[str, str, str]:
        tags = client.get_run(run).data.tags
        (line,) = [line for line in tags["mlflow.note.content"].split("\n") if line.startswith("**Payment:**")]
        return tags["royalty.payment"], tags.get("royalty.statement", ""), line.replace("\\", "")

    assert shown() == ("proposed", "", "**Payment:** proposed; nothing is paid.")
    ledger, table = home.space.ledger, unpaid.outputs.table
    division = ledger.post("fund", euros(table, {"ann": 60}, held={"bob": 40}), period="2026-05")
    assert show_payments.fn("fund", "2026-05") == []
    today = ledger.statements()[-1].created_at[:10]
    first = f"€1.00 of the pool fund of 2026-05 divided, and €0.60 paid on {today} by statement `{division}`"
    assert shown() == ("paid", division, f"**Payment:** {first}.")
    release = ledger.release("fund", ["bob"], period="2026-05")
    show_payments.fn("fund", "2026-05")
    assert shown()[:2] == ("paid", release)
    assert shown()[2].endswith(f"; €0.40 released to bob on {today} by statement `{release}`.")
    other = ledger.post("fund", euros("of another run", {"ann": 60}), period="2026-05", replace=True)
    show_payments.fn("fund", "2026-05")
    assert shown()[0] == "replaced"
    assert f"{first}, reversed and replaced on {today} by statement `{other}`;" in shown()[2]
    assert client.get_run(run).data.tags["royalty.paid_at"].startswith(today)

    def unreachable(*_arguments: object) -> None:
        raise MlflowException("no answer")

    monkeypatch.setattr("royalty.infra.tracking.client.Tracking.show_payment", unreachable)
    assert show_payments.fn("fund", "2026-05") == [], "what is shown is not shown again"
    ledger.post("fund", euros("of a third run", {"ann": 60}), period="2026-05", replace=True)
    (remark,) = show_payments.fn("fund", "2026-05")
    assert remark.startswith("MLflow does not show this payment yet: no answer. Repeat the command")


def test_pages_stay_in_the_language_of_their_run(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    here = Settings(home=home.space.root)
    monkeypatch.setattr("royalty.tasks.report.payment_pages.settings", lambda: here)
    stages = logged(unpaid(home))
    english = reported(home, stages)
    page = Path(english.folder) / file_of("bob")
    assert "is proposed and not paid yet" in page.read_text(encoding="utf-8")
    written = reported(home, stages, "de")
    assert written.stage.key != english.stage.key
    assert "sind vorgeschlagen und noch nicht gezahlt" in page.read_text(encoding="utf-8")
    table = stages.credit.outputs.table
    home.space.ledger.post("may", euros(table, {"ann": 123_456}, held={"bob": 40}), period="2026-04")
    assert show_on_pages.fn("may", "2026-04") == []
    assert "0,40\xa0€ zurückgehalten" in page.read_text(encoding="utf-8")
    assert "1.234,56\xa0€ werden" in (Path(written.folder) / file_of("ann")).read_text(encoding="utf-8")


def test_the_report_names_who_made_what_was_copied(home: Home) -> None:
    matched, space = home.stages.match.outputs, home.space
    diagnostics = {**matched.diagnostics, "memorized": 5, "memorization_smallest_p": 0.004}
    pairs = [CopiedImage(1, 3, 0.004), CopiedImage(0, 0, 0.02)]
    section = match_section(
        space.artifacts, replace(matched, diagnostics=diagnostics, copied=pairs), [("ann", 1.0), ("bob", 0.5)]
    )
    items, made = (load_items(space.artifacts, matched.sides[side]) for side in ("train", "generated"))
    assert items.images is not None
    assert made.images is not None
    assert items.contributors is not None
    assert section.copied == 5
    assert [(row.p_value, row.names) for row in section.copies] == [
        (pair.p_value, tuple(items.contributors[pair.item].split(";"))) for pair in pairs
    ]
    assert section.copies[0].image == sheet(made.images[[1]], 1)
    assert section.copies[0].source == sheet(items.images[[3]], 1)


def by_use(home: Home, credit: str) -> str:
    """Digest of a table of credit and use: a quarter for training, and the rest for four generations."""
    recorder = Recorder(home.space, {})
    usage = recorder.put("generations")
    people = {"contributor": ["ann", "bob"], "credit": [0.125, 0.875], "training": [0.125] * 2, "use": [0.0, 0.75]}
    table = recorder.table(pd.DataFrame(people | {"generations": [0, 4]}))
    recorder.finished(USAGE, UsageInputs("log", "june", "2026-05"), UsageOutputs(usage, 4, 4, "4"))
    used = UseInputs(usage, credit, "1/4", "training", "proportional")
    recorder.finished(USE, used, UseOutputs(table, "0/1", 0.0, {}))
    return table


def test_pages_and_mlflow_show_payments_by_use_beside_the_credit(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    here = Settings(home=home.space.root)
    monkeypatch.setattr("royalty.tasks.report.payment_pages.settings", lambda: here)
    monkeypatch.setattr("royalty.tasks.report.payments.settings", lambda: here)
    stages = logged(unpaid(home))
    folder = Path(reported(home, stages).folder)
    table = by_use(home, stages.credit.outputs.table)
    statement = home.space.ledger.post("may", euros(table, {"ann": 1_250, "bob": 8_750}), period="2026-05")
    assert show_payments.fn("may", "2026-05") == []
    assert show_on_pages.fn("may", "2026-05") == []
    parts = "€100.00 divided, 25.0% of it for training and 75.0% for 4 generations, and €100.00 paid"
    report, ann, bob = (
        " ".join(re.sub(r"<[^>]+>", " ", (folder / file).read_text(encoding="utf-8")).split())
        for file in ("report.html", file_of("ann"), file_of("bob"))
    )
    assert f"{parts} {statement} in force" in report
    assert "€12.50 is paid by this credit on other terms" in ann
    own = r"may of 2026-05 \S.* division \+1.00 €87.50, 12.5% of the pool for training and 75.0% for generations \(4\)"
    assert re.search(own, bob)
    tags = open_tracking(here).client.get_run(stages.logged_run.outputs.run).data.tags
    assert (tags["royalty.payment"], tags["royalty.statement"]) == ("paid", statement)
    assert "25.0% of it for training and 75.0% for 4 generations" in tags["mlflow.note.content"].replace("\\", "")
    again = reported(home, stages, "de")
    page = (Path(again.folder) / file_of("bob")).read_text(encoding="utf-8")
    assert "75,0\xa0% für Generierungen (4)" in page


@pytest.mark.slow
def test_the_pages_of_a_run_show_what_is_paid_later(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    here = Settings(home=home.space.root)
    monkeypatch.setattr("royalty.tasks.report.payment_pages.settings", lambda: here)
    ledger, stages = home.space.ledger, logged(unpaid(home))
    folder = Path(reported(home, stages).folder)

    def page(file: str) -> str:
        text = re.sub(r"<[^>]+>", " ", (folder / file).read_text(encoding="utf-8").partition("<body>")[2])
        return " ".join(text.split())

    assert "this is a proposal, and nothing is posted" in page("report.html")
    assert states(folder) == {("proposed", "")}
    assert "€500.00 is proposed and not paid yet: 50.0% of the pool of €1,000.00" in page(file_of("ann"))
    table, amounts = stages.credit.outputs.table, {"ann": 50_000, "bob": 50_000}
    other = ledger.post("may", euros(table, {"ann": 60}, held={"bob": 40}), period="2026-04")
    assert show_on_pages.fn("may", "2026-04") == []
    assert "this division is a proposal. The credit was paid on other terms" in page("report.html")
    assert states(folder) == {("proposed", "")}
    assert "€0.60 is paid by this credit on other terms" in page(file_of("ann"))
    assert re.search(r"may of 2026-04 \S.* division \+1.00 €0.40 held active", page(file_of("bob")))
    before = page("report.html")
    division = ledger.post("may", euros(table, amounts), period="2026-05")
    assert show_on_pages.fn("elsewhere", "2026-05") == []
    assert page("report.html") == before
    assert show_on_pages.fn("may", "2026-05") == []
    assert "2 of 2 are paid; what else this credit paid is listed" in page("report.html")
    assert f"Division of the pool may of 2026-05 of €1,000.00, statement {division}" in page("report.html")
    assert f"€1,000.00 divided, and €1,000.00 paid {division} in force" in page("report.html")
    assert "€500.00 is paid: 50.0% of the pool of €1,000.00" in page(file_of("ann"))
    assert "€0.60 more is paid by this credit" in page(file_of("ann"))
    ledger.release("may", ["bob"], period="2026-04")
    show_on_pages.fn("may", "2026-04")
    assert "€0.40 released to bob" in page("report.html")
    assert other in page("report.html")
    client, run = open_tracking(here).client, stages.logged_run.outputs.run
    assert division in Path(client.download_artifacts(run, "report.html")).read_text(encoding="utf-8")
    assert states(folder) == {("posted", division)}
    assert states(Path(client.download_artifacts(run, "payout.csv")).parent) == {("posted", division)}
    ledger.post("may", euros("of another run", amounts), period="2026-05", replace=True)
    show_on_pages.fn("may", "2026-05")
    assert "reversed and replaced on" in page("report.html")
    assert "would be paid: this division is a proposal" in page("report.html")
    kinds = re.findall(r"may of 2026-05 \S.*? (division|replacement) ", page(file_of("ann")))
    assert kinds == ["division", "replacement"]

    def unreachable(*_arguments: object) -> None:
        raise MlflowException("no answer")

    monkeypatch.setattr("royalty.infra.tracking.client.Tracking.files", unreachable)
    assert show_on_pages.fn("may", "2026-05") == [], "pages that are as they should be are not written again"
    ledger.post("may", euros(table, amounts), period="2026-05", replace=True)
    for _ in range(2):
        (remark,) = show_on_pages.fn("may", "2026-05")
        assert "MLflow did not take them (no answer)" in remark
    monkeypatch.undo()
    monkeypatch.setattr("royalty.tasks.report.payment_pages.settings", lambda: here)
    assert show_on_pages.fn("may", "2026-05") == []
    assert states(folder) != {("proposed", "")}

    shutil.rmtree(home.space.root / "runs")
    (home.space.root / "runs").write_text("no folder")
    (remark,) = show_on_pages.fn("may", "2026-05")
    assert "the pages of the run 'june' do not show this payment yet" in remark
    assert "`royalty run` writes them again" in remark


def states(folder: Path) -> set[tuple[str, str]]:
    """What the rows of `payout.csv` say: state, and statement."""
    rows = pd.read_csv(folder / "payout.csv", dtype=str, keep_default_na=False)
    return set(zip(rows["state"], rows["statement"], strict=True))


def unpaid(home: Home) -> Home:
    """The same home with other credit, by which nothing was paid, and its division."""
    credit = replace(home.stages.credit, outputs=replace(home.stages.credit.outputs, table=other_table(home)))
    recorder, pay = Recorder(home.space, {}), home.stages.pay
    paid = recorder.finished(PAY, replace(pay.inputs, table=credit.outputs.table), pay.outputs)
    return replace(home, stages=replace(home.stages, credit=credit, pay=replace(pay, stage=paid, statement=None)))


def other_table(home: Home) -> str:
    """Digest of a credit table that nothing was paid by."""
    table = pd.read_parquet(BytesIO(home.space.artifacts.get(home.stages.credit.outputs.table)))
    return home.space.artifacts.put(table.assign(stderr=0.125).to_parquet(index=False))


def test_mlflow_shows_images_a_plot_and_the_card(home: Home) -> None:
    outputs = logged(home).logged_run.outputs
    client = open_tracking(Settings(home=home.space.root)).client
    files = {file.path for file in client.list_artifacts(outputs.run)}
    assert files >= {"property-by-size.png", "MODEL_CARD.md", "images", "credit.json", "payout.json", "values.json"}
    images = [file.path for file in client.list_artifacts(outputs.run, "images") if file.path.endswith(".png")]
    series = {path.removeprefix("images/").partition("+step+")[0]: path for path in images}
    assert set(series) == {"1 base model", "2 pruned model before recovery", "3 pruned model after recovery"}
    assert "+step+60+" in series["1 base model"]
    with Image.open(client.download_artifacts(outputs.run, series["1 base model"])) as shown:
        assert shown.size == (129, 64)  # two images of 8 pixels, each pixel eight times


@pytest.mark.parametrize(
    ("value", "is_called", "sums"),
    [("shapley", "Shapley values", "They sum to"), ("banzhaf", "Banzhaf values", "They need not sum to")],
)
def test_the_card_and_the_report_say_what_value_the_credit_is(
    home: Home, value: str, is_called: str, sums: str
) -> None:
    credit = home.stages.credit
    inputs = replace(credit.inputs, config=credit.inputs.config.model_copy(update={"value": value}))
    stages = replace(home.stages, credit=replace(credit, inputs=inputs))
    assert value_of(stages.credit) == value
    card = model_card("may", home.config.model_dump(), stages, load_table(home.space, credit.outputs.table))
    assert f"{is_called} of the property, from" in card
    assert f"models of coalitions. {sums} " in card
    assert value_of(replace(credit, inputs=replace(credit.inputs, groups="key"))) == "groups"
    sets = replace(credit.outputs, diagnostics={"estimator": "faithful"})
    assert value_of(replace(credit, outputs=sets)) == "images"
    written = reported(home, replace(logged(home), credit=stages.credit))
    html = (Path(written.folder) / "report.html").read_text(encoding="utf-8")
    assert f"(the {value.title()} value)" in html
    assert ("divided as credit" in html) == (value == "shapley")


def test_a_run_that_uses_the_same_coalitions_logs_them_no_more(home: Home) -> None:
    first = logged(home)
    gone = home.stages.logged_run  # it names a coalition whose MLflow run was deleted, and may be read before or after
    Recorder(home.space, {}).finished(TRACK, replace(gone.inputs, name="gone"), gone.outputs)
    other = replace(home, stages=replace(home.stages, match=replace(home.stages.match, key="a" * 64)))
    second = logged(other).logged_run.outputs
    coalitions = {plan.key for plan in home.plans}
    assert second.run != first.logged_run.outputs.run
    assert {second.runs[key] for key in coalitions} == {first.logged_run.outputs.runs[key] for key in coalitions}
    assert logged_coalitions(home.space, [replace(home.plans[0], measures=())]) == {}


def test_the_pages_are_written_and_the_images_are_opened_once(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    stages, opened = logged(home), Counter[str]()
    for name in ("get", "verified"):
        read = getattr(ArtifactStore, name)

        def counted(store: ArtifactStore, digest: str, read: object = read) -> object:
            opened[digest] += 1
            assert callable(read)
            return read(store, digest)

        monkeypatch.setattr(ArtifactStore, name, counted)
    written = reported(home, stages)
    assert opened[stages.ingest.outputs.train] == 1
    folder = Path(written.folder)
    assert folder == home.space.root / "runs" / "june"
    page = (folder / "report.html").read_text(encoding="utf-8")
    for text in (
        "A &lt;note&gt;.",
        "A check.",
        home.statement,
        "€500.00",
        "6 distinct training images",
        "ann and bob (1)",
    ):
        assert text in page, text
    for person in ("ann", "bob"):
        assert "€500.00" in (folder / file_of(person)).read_text(encoding="utf-8")
    assert states(folder) == {("posted", home.statement)}
    amounts = pd.read_csv(folder / "payout.csv", dtype={"amount": str}).set_index("contributor")["amount"].to_dict()
    assert amounts == {row["contributor"]: row["amount"] for row in stages.pay.outputs.rows}
    again = reported(home, stages)
    assert again.stage.reused
    assert again.stage.outputs == written.stage.outputs


def test_mlflow_gets_all_pages_in_one_file(home: Home, tmp_path: Path) -> None:
    stages = logged(home)
    folder = Path(reported(home, stages).folder)
    run, client = stages.logged_run.outputs.run, open_tracking(Settings(home=home.space.root)).client
    files = {file.path for file in client.list_artifacts(run)}
    assert "report.html" in files
    assert not {"index.html", "contributors"} & files
    html = Path(client.download_artifacts(run, "report.html", str(tmp_path))).read_text(encoding="utf-8")
    anchors = re.findall(r'id="([^"]+)"', html)
    assert len(anchors) == len(set(anchors))
    links = re.findall(r'href="([^"]+)"', html)
    assert {link.removeprefix("#") for link in links} <= set(anchors)
    assert {f"#page-{Path(file_of(person)).stem}" for person in ("ann", "bob")} <= set(links)
    assert 'href="report.html"' in (folder / "index.html").read_text(encoding="utf-8")


def test_a_page_says_what_changed_since_the_last_run(home: Home) -> None:
    reported(home, logged(home))
    recorder = Recorder(home.space, {})
    table = pd.DataFrame({"contributor": ["bob", "ann"], "items": [4, 3], "credit": [1.5, 0.5], "stderr": 0.1})
    outputs = replace(home.stages.credit.outputs, table=recorder.table(table.assign(ci_low=0.1, ci_high=1.9)))
    stages = logged(
        replace(home, stages=replace(home.stages, credit=replace(home.stages.credit, key="c" * 64, outputs=outputs)))
    )
    background = Background.read(home.space, "june", stages)
    assert background.earlier is not None
    assert background.earlier.stages.credit.outputs.table == home.stages.credit.outputs.table
    page = (Path(reported(home, stages).folder) / file_of("ann")).read_text(encoding="utf-8")
    for text in (
        "+1.0000",
        "+0.5000",
        "Own images: the same 3.",
        "Rank by credit",
        "Credit (not certain to have moved)",
    ):
        assert text in page, text


def test_a_page_lists_what_its_contributor_withdrew(home: Home) -> None:
    stages = logged(home)
    page = Path(reported(home, stages).folder) / file_of("ann")
    assert "Opt-outs" not in page.read_text(encoding="utf-8")
    optout = record_optout(home.space.acts, "clerk", "ann", ["cats/<1>.png", "two.png"], "sold")
    html = (Path(reported(home, stages).folder) / file_of("ann")).read_text(encoding="utf-8")
    for text in ("Opt-outs", "cats/&lt;1&gt;.png", "two.png", f"optouts/{optout.id}.json"):
        assert text in html, text
    assert "Opt-outs" not in (page.parent / Path(file_of("bob")).name).read_text(encoding="utf-8")


def test_stages_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    home = made_up(tmp_path / "old", lacking={"train": ["parameters", "seed"]})
    keys = home.stages.keys
    with pytest.raises(StoreError, match=r"stage 'train' .* different fields: .*(parameters|seed)"):
        RunStages.kept(home.space, keys.values())
    del keys["pay"], keys["train"]
    with pytest.raises(StoreError, match="lacks the stage 'train'"):
        RunStages.kept(home.space, keys.values())


@pytest.mark.browser
@pytest.mark.slow
def test_mlflows_pages_show_the_run_and_its_report_with_working_links(home: Home) -> None:
    stages = logged(home)
    reported(home, stages)
    outputs = stages.logged_run.outputs
    with pytest.MonkeyPatch.context() as environment:
        for name, value in QUIET.items():
            environment.setenv(name, value)
        server = mlflow_server(Settings(home=home.space.root))
    try:
        server.wait_until_ready()
        with Browser() as browser:
            browser.resize(1500, 1400)
            browser.open(f"{server.url}/#/experiments/{outputs.experiments['coalitions']}?{MODE}", wait=False)
            browser.until("document.body?.innerText.includes('1 of 2: bob')", 90)
            page = run_page(server.url, outputs.experiments["runs"], outputs.run)
            browser.open(page, wait=False)
            for text in ("royalty-june", "Model training", "Created by", "by_size", "Credits 2 contributors"):
                browser.until(f"document.body?.innerText.includes({text!r})", 90)
            browser.open(page.replace("?", "/artifacts/report.html?"), wait=False)
            browser.enter_frame()
            browser.until("document.querySelectorAll('.page').length === 4", 90)
            shown = "[...document.querySelectorAll('.page')].filter(page => page.offsetHeight).map(page => page.id)"
            person = f"page-{Path(file_of('ann')).stem}"
            for before, link in (("page-report", "page-index"), ("page-index", person), (person, "page-report")):
                browser.until(f"{shown}.join() === {before!r}")  # a page follows its address
                assert browser.accessibility() == []
                browser.run(
                    f'document.querySelector(\'#{before} a[href="#{link}"], .pages a[href="#{link}"]\').click()'
                )
            browser.until(f"{shown}.join() === 'page-report'")
    finally:
        server.stop()
