"""Write the report, the contributor pages and the tables of a run, and attach them to its MLflow run."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import chain

from prefect.cache_policies import NO_CACHE

from royalty.infra.pages.combined import REPORT as REPORT_PAGE
from royalty.infra.pages.combined import combined
from royalty.infra.pages.language import Language
from royalty.infra.pages.report import template_digest
from royalty.infra.settings import settings
from royalty.infra.stores.artifacts import write_changed
from royalty.infra.workspace import Workspace, open_workspace
from royalty.tasks.config.credit import CreditConfig
from royalty.tasks.credit.estimate import load_table
from royalty.tasks.report.background import Background
from royalty.tasks.report.composing import Remarks, compose_report
from royalty.tasks.report.contents import Contents
from royalty.tasks.report.contributors import compose_pages
from royalty.tasks.report.gallery import KeptGallery
from royalty.tasks.report.image_parts import IMAGE_CREDIT_TABLE, image_credit_table
from royalty.tasks.report.notes import policy_sentences
from royalty.tasks.report.payment_pages import PAYOUT, beside, payout_table, with_payments
from royalty.tasks.report.prefect_artifacts import show_in_prefect
from royalty.tasks.report.stages import REPORT, ReportInputs, ReportOutputs, RunStages, WrittenReport
from royalty.tasks.stages.running import run_here
from royalty.tasks.stages.task import task


@task(name="write report", cache_policy=NO_CACHE)
def write_report(
    name: str,
    config: CreditConfig,
    stages: RunStages,
    timings: Sequence[tuple[str, str, str, str]],
    notes: Sequence[str],
    checks: Sequence[str],
    language: Language,
) -> WrittenReport:
    """Write the report, a page for each contributor and the tables, and attach them to the MLflow run.

    MLflow gets all pages as one file, because it follows no link from one artifact to another.

    Args:
        stages: stages of a run that is logged to MLflow.
        timings, notes, checks: see `royalty.tasks.report.composing.Remarks`.
        language: of the contributors' pages.
    """
    space = open_workspace(settings())
    background = Background.read(space, name, stages)
    gallery = KeptGallery.of_credit(space, stages.credit.key)
    context = {**background.context, "gallery": gallery.stage.key if gallery else None}
    inputs = ReportInputs(name, stages.keys, list(notes), list(checks), template_digest(), context, language.digest)
    tables = _tables(space, stages) | {PAYOUT: payout_table(stages.pay.stage, background.statements)}
    if stages.images:
        tables[IMAGE_CREDIT_TABLE] = image_credit_table(space, stages.images, stages, background, config.payout)

    def compute(space: Workspace) -> ReportOutputs:
        from royalty.infra.tracking.client import open_tracking  # MLflow takes seconds to import

        report = compose_report(space, name, config, stages, background.train, Remarks(timings, notes, checks))
        contributors = compose_pages(space, report, stages, background, config.payout, language)
        money = partial(language.money, currency=config.payout.currency)
        table = load_table(space, stages.credit.outputs.table)
        terms = tuple(policy_sentences(stages.pay, config.payout, table, money))
        composed = Contents(report, contributors, money(config.payout.minor_units), terms, language)
        kept = space.artifacts.put_pieces(composed.pieces())
        contents = Contents.open(space.artifacts.verified(kept))
        shown = with_payments(space, contents, stages.pay.stage, background.statements)
        shown = gallery.shown_in(shown) if gallery else shown
        pages = space.artifacts.put_all((file, html.encode()) for file, html in shown.render())
        stored = ((file, space.artifacts.get(digest).decode()) for file, digest in pages.items())
        together = combined(chain(stored, beside(gallery).items()))
        tracking, run = open_tracking(settings()), stages.logged_run.outputs.run
        tracking.files(run, {**tables, REPORT_PAGE: map(str.encode, together)})
        tracking.finish(run)
        return ReportOutputs(pages[REPORT_PAGE], pages, kept)

    written = run_here(REPORT, inputs, compute)
    folder = space.root / "runs" / name
    pages = ((file, space.artifacts.get(digest)) for file, digest in written.outputs.pages.items())
    linked = ((file, html.encode()) for file, html in beside(gallery).items())
    write_changed((folder / file, payload) for file, payload in chain(tables.items(), pages, linked))
    show_in_prefect(name, config.payout, stages.pay, folder, stages.logged_run)
    return WrittenReport(str(folder), written)


def _tables(space: Workspace, stages: RunStages) -> dict[str, bytes]:
    tables = {
        "credit.parquet": stages.credit.outputs.table,
        "values.parquet": stages.match.outputs.table,
        "contributions.parquet": stages.match.outputs.contributions,
        **({"pipelines.parquet": stages.credit.outputs.pipelines} if stages.credit.outputs.pipelines else {}),
    }
    return {file: space.artifacts.get(digest) for file, digest in tables.items()}
