"""Compose the report of a run from its finished stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from royalty.infra.pages.interactions import Interactions, PairRow
from royalty.infra.pages.pictures import sheet
from royalty.infra.pages.report import Alphabet, ContributorRow, ModelRow, Report
from royalty.infra.workspace import Workspace
from royalty.models.data.items import ImageSet
from royalty.models.properties.registry import chosen_property
from royalty.models.valuation.sure_pairs import SurePairs
from royalty.tasks.config.credit import CreditConfig
from royalty.tasks.config.payout import PayoutConfig
from royalty.tasks.credit.estimate import load_table
from royalty.tasks.credit.stages import MeasureOutputs
from royalty.tasks.pay.cases import case_rows
from royalty.tasks.pay.credits import ranked
from royalty.tasks.pay.headline import headline
from royalty.tasks.pay.stages import PayOutputs
from royalty.tasks.report.notes import (
    COALITION_MODELS,
    attribution,
    data_notes,
    diagnostic_rows,
    failure_notes,
    interval_sources,
    payout_remarks,
    policy_sentences,
    resolution,
    value_of,
)
from royalty.tasks.report.stages import RunStages

STRIP = 8
"""Number of training images that the report shows for each contributor."""
STRIPS = 1000
"""Most contributors of whom the report shows images: those of highest credit."""
LABELS = 100
"""Most labels of which the report shows an image."""
GENERATED = 16
"""Number of images in a row of the sheet of generated images."""


@dataclass(frozen=True)
class Remarks:
    """Parts of the report that the flow provides.

    Attributes:
        timings: rows of part of the run, wall time, compute time, and `reused` or "".
        notes: sentences about the data and the measurements.
        checks: sentences about the payout, such as those on split identities.
    """

    timings: Sequence[tuple[str, str, str, str]]
    notes: Sequence[str]
    checks: Sequence[str]


def compose_report(
    space: Workspace, name: str, config: CreditConfig, stages: RunStages, train: ImageSet, added: Remarks
) -> Report:
    """Compose the report of a run; `with_payments` adds what was paid.

    Args:
        train: the training images.
        added: the parts that the flow provides.
    """
    from royalty.tasks.items.match_pictures import match_section  # imports torch, which takes seconds

    data, credit, paid, measure = (
        stages.ingest.outputs, stages.credit.outputs, stages.pay.outputs, stages.measure.outputs,
    )  # fmt: skip
    payout, measured = config.payout, chosen_property(config.property)
    table = load_table(space, credit.table)
    first = headline(paid.rows)
    credits = list(zip(table["contributor"], table["credit"], strict=True))
    return Report(
        title=name,
        created_at=datetime.now(UTC).isoformat(timespec="minutes"),
        leader=first.name,
        headline=first.rest,
        utility_name=measured.title,
        utility_meaning=measured.known.meaning,
        null_utility=credit.null_utility,
        grand_utility=credit.grand_utility,
        real_utility=measure.utility["real"],
        coalitions=credit.certainty.coalitions + 2,
        coalition_model=COALITION_MODELS[config.coalitions.method],
        interval_covers=interval_sources(config),
        confidence=config.credit.confidence,
        rows=_rows(ranked(table), train, payout, paid, data.held_out),
        models=_models(stages),
        step_images=config.sampling.images,
        generated=_generated(space, measure),
        alphabet=_alphabet(space, stages),
        interactions=pair_section(credit.interactions, bool(stages.credit.inputs.retrained)),
        cases=case_rows(space.cases.all(), data.contributors),
        matches=match_section(space.artifacts, stages.match.outputs, credits),
        paid=_paid(payout, paid),
        pool=payout.formatted(payout.minor_units),
        pool_name=payout.name or name,
        statement=None,
        refusal=paid.refusal,
        policy=" ".join(policy_sentences(stages.pay, payout, table, payout.formatted)),
        remarks=tuple(payout_remarks(paid, payout)),
        checks=tuple(added.checks),
        diagnostics=tuple(diagnostic_rows(credit.diagnostics)),
        notes=(
            *data_notes(data),
            *attribution(config.data, space.artifacts, data.listed),
            resolution(config, measured, measure.utility_stderr["pruned"]),
            *failure_notes(credit.failed),
            *added.notes,
        ),
        settings=tuple(_settings(config.claimed())),
        timings=tuple(added.timings),
        identifiers=_identifiers(stages),
        value=value_of(stages.credit),
        pipelines=config.coalitions.pipelines,
    )


def _rows(
    table: pd.DataFrame,
    train: ImageSet,
    payout: PayoutConfig,
    paid: PayOutputs,
    held_out: Mapping[str, int],
) -> tuple[ContributorRow, ...]:
    rows, shares = [], {row["contributor"]: row["share"] for row in paid.rows}
    for place, row in enumerate(table.to_dict("records")):
        settlement = paid.settlements.get(row["contributor"])  # None for a team, or if the payout was refused
        share = shares.get(row["contributor"]) or 0.0
        rows.append(
            ContributorRow(
                name=row["contributor"],
                items=row["items"],
                credit=row["credit"],
                stderr=row["stderr"],
                ci_low=row["ci_low"],
                ci_high=row["ci_high"],
                share=share,
                amount=payout.formatted(settlement.amount) if settlement else "to its authors" if share else "none",
                strip=_strip(train, row["contributor"]) if place < STRIPS else b"",
                held_out=held_out.get(row["contributor"]),
                rank_best=row["rank_best"],
                rank_worst=row["rank_worst"],
            )
        )
    return tuple(rows)


def _strip(train: ImageSet, name: str) -> bytes:
    items = np.flatnonzero(train.membership[:, train.contributors.index(name)])[:STRIP]
    return sheet(train.images[items], STRIP)


def _models(stages: RunStages) -> tuple[ModelRow, ...]:
    base, pruned, measure = stages.train.outputs, stages.prune.outputs, stages.measure.outputs
    seconds, utility = measure.step_seconds, measure.utility
    pruned_size = pruned.parameters, pruned.multiply_adds
    return (
        ModelRow("base", base.parameters, base.multiply_adds, seconds["base"], utility["base"]),
        ModelRow("pruned", *pruned_size, seconds["broken"], utility["broken"]),
        ModelRow("pruned, recovered", *pruned_size, seconds["pruned"], utility["pruned"]),
    )


def _generated(space: Workspace, measure: MeasureOutputs) -> bytes:
    images = np.frombuffer(space.artifacts.get(measure.images["base"]), np.uint8).reshape(measure.shape)
    return sheet(images, GENERATED)


def _alphabet(space: Workspace, stages: RunStages) -> Alphabet | None:
    """An image of each label by everybody's model; None if it is not told labels."""
    if stages.samples is None or not stages.samples.outputs.legible:
        return None
    made, labels = stages.samples.outputs, stages.ingest.outputs.label_names[:LABELS]
    images = np.frombuffer(space.artifacts.get(made.images["everybody"]), np.uint8).reshape(made.shape)
    drawn = tuple((label, sheet(images[[place]], 1)) for place, label in enumerate(labels))
    return Alphabet(drawn, made.legible["everybody"], len(images))


def pair_section(found: SurePairs | None, corrected: bool) -> Interactions | None:
    """Pairs who are surely substitutes or complements; None if the credit is of an earlier version.

    Args:
        corrected: credit was corrected by retrained models, and pairs were not.
    """
    if found is None:
        return None
    rows = tuple(PairRow(**asdict(pair), distinct=found.beyond_common(pair)) for pair in found.pairs)
    return Interactions(rows, found.named, found.tested, found.unresolved, found.common, found.omitted, corrected)


def _paid(payout: PayoutConfig, paid: PayOutputs) -> str:
    """The sum of all amounts; `none` if the payout was refused."""
    if paid.refusal:
        return "none"
    return payout.formatted(sum(settlement.amount for settlement in paid.settlements.values()))


def _identifiers(stages: RunStages) -> tuple[tuple[str, str], ...]:
    """Ids of the run and its results in MLflow, Prefect, git and `royalty trace`."""
    logged = stages.logged_run.outputs
    return (
        ("MLflow run", logged.run),
        ("Prefect flow run", logged.flow_run),
        ("Code commit", logged.commit),
        ("Training images", stages.ingest.outputs.train),
        ("Base model", stages.train.outputs.model),
        ("Pruned model", stages.prune.outputs.model),
        ("Credit table", stages.credit.outputs.table),
        ("Payout table", stages.pay.outputs.payout),
        ("Values of images", stages.match.outputs.table),
    )


def _settings(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, inner in value.items():
        rows += _settings(inner, f"{prefix}{key}.") if isinstance(inner, Mapping) else [(f"{prefix}{key}", str(inner))]
    return rows
