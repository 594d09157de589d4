"""Write the report and the tables, and attach them to the MLflow run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
from prefect import task
from prefect.cache_policies import NO_CACHE

from royalty.infra.pages.contributors import render_pages
from royalty.infra.pages.pictures import sheet
from royalty.infra.pages.report import ContributorRow, ModelRow, Report, render_report, template_digest
from royalty.infra.settings import settings
from royalty.infra.stores.artifacts import write_whole
from royalty.infra.stores.runstore import StageRecord
from royalty.infra.workspace import Workspace, open_workspace
from royalty.models.data.items import ImageSet
from royalty.models.data.stored import open_set
from royalty.models.generators.training import Method
from royalty.models.properties.registry import Chosen, chosen_property
from royalty.tasks.config.credit import CreditConfig
from royalty.tasks.config.payout import PayoutConfig
from royalty.tasks.credit.estimate import load_table
from royalty.tasks.report.contributors import compose_pages, context_of
from royalty.tasks.report.prefect_artifacts import show_in_prefect
from royalty.tasks.stages.stage import run_stage

STRIP = 12
DIAGNOSTICS = {
    "efficiency_gap": "Sum of credit less what there is to divide",
    "condition_number": "Condition number of the regression",
    "pairs": "Pairs of complementary coalitions",
    "unpaired": "Coalitions whose complement was not measured",
    "variance_coalitions": "Variance from the draw of coalitions",
    "variance_training": "Variance from training seeds",
    "variance_sampling": "Variance from sampling images",
    "estimator": "Estimator",
    "why": "Why this one",
}


COALITION_MODELS: dict[Method, str] = {
    "sparsified": "a smaller copy of the full model, pruned and recovered on everybody's images, then finetuned on the "
    "coalition's images alone: far cheaper than training one from nothing, and an approximation of it",
    "finetune": "the full model, finetuned on the coalition's images alone: cheaper than training one from nothing, "
    "and an approximation of it",
    "retrain": "trained from nothing on the coalition's images alone",
    "gradient-ascent": "a smaller copy of the full model, pruned and recovered on everybody's images, in which the "
    "images of everybody else were unlearned by steps that raise their loss: an approximation",
    "influence": "a smaller copy of the full model, pruned and recovered on everybody's images, in which the images of "
    "everybody else were unlearned by one step along their influence: an approximation",
}


@task(cache_policy=NO_CACHE)
def write_report(
    name: str,
    config: CreditConfig,
    stages: Mapping[str, StageRecord],
    timings: Sequence[tuple[str, str, str, str]],
    notes: Sequence[str],
    checks: Sequence[str],
) -> StageRecord:
    """Digest of the report, and the folder with the report and the tables.

    Args:
        notes: what a reader is told beside the numbers.
        checks: beside the payout.
    """
    keys = {stage: record.key for stage, record in stages.items()}
    context = context_of(open_workspace(settings()), name, stages)
    said = {"notes": list(notes), "checks": list(checks)}
    inputs = {"name": name, "stages": keys, **said, "template": template_digest(), "context": context}

    def compute(space: Workspace) -> dict[str, Any]:
        report = _compose(space, name, config, stages, timings, notes, checks)
        pages = _pages(space, report, config.payout, stages)
        from royalty.infra.tracking.client import open_tracking

        tracking, run = open_tracking(settings()), stages["track"].outputs["run"]
        kept = {file: space.artifacts.put(html.encode()) for file, html in pages.items()}
        tracking.files(run, _files(space, stages, kept))
        tracking.finish(run)
        return {"report": kept["report.html"], "pages": kept}

    record = run_stage(
        "report",
        inputs=inputs,
        modules=(
            __name__,
            "royalty.infra.pages.report",
            "royalty.infra.pages.contributors",
            "royalty.infra.pages.pictures",
            "royalty.tasks.report.contributors",
            "royalty.tasks.items.match_pictures",
        ),
        compute=compute,
    )
    space = open_workspace(settings())
    folder = space.root / "runs" / name
    for file, payload in _files(space, stages, record.outputs["pages"]).items():
        write_whole(folder / file, payload)
    show_in_prefect(name, config.payout, stages, folder)
    return record.with_outputs(folder=str(folder))


def _files(space: Workspace, stages: Mapping[str, StageRecord], pages: Mapping[str, str]) -> dict[str, bytes]:
    tables = {
        "credit.parquet": stages["credit"].outputs["table"],
        "payout.csv": stages["pay"].outputs["payout"],
        "values.parquet": stages["gmvaluator"].outputs["table"],
        "contributions.parquet": stages["gmvaluator"].outputs["contributions"],
    }
    return {file: space.artifacts.get(digest) for file, digest in {**tables, **pages}.items()}


def _pages(space: Workspace, report: Report, payout: PayoutConfig, stages: Mapping[str, StageRecord]) -> dict[str, str]:
    """The report, the index of contributors and a page for each, by file name."""
    composed = compose_pages(space, report.title, report.rows, stages, payout, dict(report.remarks))
    pages = render_pages(
        composed,
        title=report.title,
        created_at=report.created_at,
        utility_name=report.utility_name,
        level=f"{100 * report.confidence:g}%",
        pool=report.pool,
    )
    return {"report.html": render_report(report), **pages}


def _compose(
    space: Workspace,
    name: str,
    config: CreditConfig,
    stages: Mapping[str, StageRecord],
    timings: Sequence[tuple[str, str, str, str]],
    notes: Sequence[str],
    checks: Sequence[str],
) -> Report:
    from royalty.tasks.items.match_pictures import match_section  # torch and what comes with it take seconds to import

    data, base, pruned, credit = (stages[stage].outputs for stage in ("ingest", "train", "prune", "credit"))
    pay, track, measure = (stages[stage].outputs for stage in ("pay", "track", "measure"))
    payout, measured = config.payout, chosen_property(config.property)
    generated = np.frombuffer(space.artifacts.get(measure["images"]["base"]), np.uint8).reshape(measure["shape"])
    utility, seconds = measure["utility"], measure["step_seconds"]
    smaller = pruned["parameters"], pruned["multiply_adds"]
    table = load_table(space, credit["table"])
    credits = list(zip(table["contributor"], table["credit"], strict=True))
    return Report(
        title=name,
        created_at=datetime.now(UTC).isoformat(timespec="minutes"),
        utility_name=measured.title,
        utility_meaning=measured.known.meaning,
        null_utility=credit["null_utility"],
        grand_utility=credit["grand_utility"],
        real_utility=utility["real"],
        coalitions=credit["certainty"]["coalitions"] + 2,
        coalition_model=COALITION_MODELS[config.coalitions.method],
        interval_covers=_covered(config),
        confidence=config.credit.confidence,
        rows=_rows(
            table,
            open_set(space.artifacts.verified(data["train"])),
            payout,
            pay["settlements"],
        ),
        models=(
            ModelRow("base", base["parameters"], base["multiply_adds"], seconds["base"], utility["base"]),
            ModelRow("pruned", *smaller, seconds["broken"], utility["broken"]),
            ModelRow("pruned, recovered", *smaller, seconds["pruned"], utility["pruned"]),
        ),
        step_images=config.sampling.images,
        generated=sheet(generated, 16),
        matches=match_section(space, stages["gmvaluator"].outputs, credits),
        paid=_paid(payout, pay),
        pool=payout.formatted(payout.minor_units),
        pool_name=payout.name or name,
        statement=pay["statement"],
        refusal=pay["refusal"],
        policy=payout.terms(frozenset(pay["unpayable"])).description(payout.formatted),
        remarks=tuple(_remarks(payout, pay)),
        checks=tuple(checks),
        diagnostics=tuple(_diagnostics(credit["diagnostics"])),
        notes=(
            *_notes(data),
            _resolution(config, measured, measure["utility_stderr"]["pruned"]),
            *_failures(credit["failed"]),
            *notes,
        ),
        settings=tuple(_settings(config.claimed())),
        timings=tuple(timings),
        identifiers=(
            ("MLflow run", track["run"]),
            ("Prefect flow run", track["flow_run"]),
            ("Code commit", track["commit"]),
            ("Training images", data["train"]),
            ("Base model", base["model"]),
            ("Pruned model", pruned["model"]),
            ("Credit table", credit["table"]),
            ("Payout table", pay["payout"]),
            ("Values of images", stages["gmvaluator"].outputs["table"]),
        ),
    )


def _rows(
    table: pd.DataFrame, train: ImageSet, payout: PayoutConfig, settlements: Mapping[str, Mapping[str, Any]]
) -> tuple[ContributorRow, ...]:
    rows = []
    for row in table.to_dict("records"):
        member = train.contributors.index(row["contributor"])
        items = np.flatnonzero(train.membership[:, member])[:STRIP]
        settled = settlements.get(row["contributor"])  # nobody is, where the payout was refused
        rows.append(
            ContributorRow(
                name=row["contributor"],
                items=row["items"],
                credit=row["credit"],
                stderr=row["stderr"],
                ci_low=row["ci_low"],
                ci_high=row["ci_high"],
                share=settled["share"] / payout.minor_units if settled and payout.minor_units else 0.0,
                amount=payout.formatted(settled["amount"]) if settled else "none",
                strip=sheet(train.images[items], STRIP),
            )
        )
    return tuple(rows)


def _paid(payout: PayoutConfig, pay: Mapping[str, Any]) -> str:
    if pay["refusal"]:
        return "none"
    return payout.formatted(sum(settled["amount"] for settled in pay["settlements"].values()))


def _remarks(payout: PayoutConfig, pay: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Who is paid another amount than the policy alone gives, why, and where the rest is."""
    for name, settled in pay["settlements"].items():
        parts = {"held": settled["held"], "carried over": settled["carried"], "owed": settled["debt"]}
        rest = [f"{payout.formatted(amount)} {part}" for part, amount in parts.items() if amount]
        if settled["reasons"]:
            yield name, "; ".join([*settled["reasons"], *rest])
    if pay["reserve"]:
        yield "Reserve", f"{payout.formatted(pay['reserve'])} of the pool, left over by the cap or taken for debts"


def _notes(data: Mapping[str, Any]) -> tuple[str, ...]:
    notes = [f"{data['total_items']} distinct training images of {len(data['contributors'])} contributors."]
    if data["shared_items"]:
        notes.append(
            f"{data['shared_items']} images were provided by more than one contributor. Such an image is trained on "
            "once and belongs to every coalition that holds one of its contributors, so that they share its credit."
        )
        pairs = [f"{first} and {second} ({count})" for first, second, count in data["copies"]]
        notes.append(f"In common: {_some(pairs, 10)}.")
    if near := data["near_copies"]:
        pairs = [f"{first} and {second} ({count})" for first, second, count in near]
        notes.append(
            f"Nearly in common, as a file that was compressed again is: {_some(pairs, 10)}. Unlike exact copies these "
            "are items of their own, and each contributor's credit is for having it beside the other."
        )
    if data["repeated_items"]:
        notes.append(f"{data['repeated_items']} further images are copies that a contributor brought more than once.")
    if any(data["licenses"]):
        counts = [f"{name or 'none that is known'} ({count})" for name, count in data["licenses"].items()]
        notes.append(f"Licenses of the images that were read: {_some(counts, 10)}.")
    return tuple(notes)


def _some(parts: Sequence[str], most: int) -> str:
    left = len(parts) - most
    return ", ".join(parts[:most]) + (f" and {left} more" if left > 0 else "")


def _resolution(config: CreditConfig, measured: Chosen, stderr: float) -> str:
    return (
        f"Each model is measured on {config.sampling.images} generated images; other {config.sampling.images} of the "
        f"pruned model would change its {measured.title} by a standard error of {stderr:.2g}."
    )


def _covered(config: CreditConfig) -> str:
    """What differs between the measurements that the intervals come from."""
    sources = ["which coalitions happened to be measured"]
    if config.coalitions.seeds > 1:
        sources.append("the seeds that models were trained from")
    if config.sampling.draws > 1:
        sources.append("the images that were drawn from them")
    once = config.coalitions.seeds == 1
    return ", ".join(sources) + (", each trained once" if once else "")


def _failures(failed: Sequence[Sequence[str]]) -> Iterator[str]:
    if failed:
        shown = "; ".join(", ".join(members) for members in failed[:3])
        yield (
            f"The training of {len(failed)} coalition(s) diverged twice. They are not counted, which widens the "
            f"intervals: {shown}{' and others' if len(failed) > 3 else ''}."
        )


def _diagnostics(diagnostics: Mapping[str, float | str]) -> Iterator[tuple[str, str]]:
    for key, value in diagnostics.items():
        if isinstance(value, str):
            yield DIAGNOSTICS[key], value
        elif key.startswith("variance_"):
            yield DIAGNOSTICS[key], f"{value:.0%}"
        elif key != "unpaired" or value:
            yield DIAGNOSTICS[key], f"{value:.3g}"


def _settings(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, inner in value.items():
        rows += _settings(inner, f"{prefix}{key}.") if isinstance(inner, Mapping) else [(f"{prefix}{key}", str(inner))]
    return rows
