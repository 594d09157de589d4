"""Compose a page for each contributor: values of images, and changes since the last run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from royalty.infra.pages.case_rows import OptOutRow
from royalty.infra.pages.cells import rank_text
from royalty.infra.pages.contributors import ContributorPage, ImageValues, Tile
from royalty.infra.pages.language import Language
from royalty.infra.pages.pictures import sheet
from royalty.infra.pages.report import ContributorRow, Report
from royalty.infra.stores.artifacts import StoreError
from royalty.infra.workspace import Workspace
from royalty.models.data.teams import people
from royalty.models.payout.division import Settlement
from royalty.models.valuation.intervals import told_apart
from royalty.tasks.config.payout import PayoutConfig
from royalty.tasks.credit.estimate import load_table
from royalty.tasks.pay.cases import case_rows
from royalty.tasks.pay.credits import ranked
from royalty.tasks.pay.remarks import adjustments
from royalty.tasks.report.background import Background, EarlierRun
from royalty.tasks.report.image_parts import parts_by_contributor
from royalty.tasks.report.moved import Step, state_of
from royalty.tasks.report.stages import RunStages

logger = logging.getLogger(__name__)

TILES = 12
"""Most images that a page shows for each valuation."""


def compose_pages(
    space: Workspace,
    report: Report,
    stages: RunStages,
    background: Background,
    payout: PayoutConfig,
    language: Language,
) -> Iterator[ContributorPage]:
    """Compose the pages, one for each contributor, in the order of the report; `with_payments` adds what was paid."""
    settlements = stages.pay.outputs.settlements
    remarks = adjustments(stages.pay.outputs, partial(language.money, currency=payout.currency))
    interactions = report.interactions
    earlier, valued = background.earlier, _valued(background)
    before, step = _earlier_credit(space, earlier), _step(space, earlier, stages)
    parts = parts_by_contributor(space, stages, background, payout.currency, language)
    for reported in report.rows:
        name, then = reported.name, before.get(reported.name)
        amount = _amount(settlements.get(name), reported.share, payout.currency, language)
        row = replace(reported, amount=amount, strip=b"")  # the report alone shows the strip
        yield ContributorPage(
            row=row,
            among=len(report.rows),
            remarks=remarks.get(name, ()),
            refusal=stages.pay.outputs.refusal,
            values=valued(name),
            history=(),
            before=then.credit if then else None,
            since=earlier.created_at if earlier and then else None,
            changes=tuple(_changes(row, then, earlier, language)) if earlier and then else None,
            moved=tuple(step.causes(name, language)) if step else (),
            pairs=interactions.of(name) if interactions and not interactions.omitted else None,
            cases=case_rows(background.cases, [name]),
            optouts=tuple(OptOutRow.of(each) for each in background.optouts if each.contributor in people([name])),
            parts=parts(name),
        )


def _valued(background: Background) -> Callable[[str], tuple[ImageValues, ...]]:
    """Values of the images of a contributor, by each method. An image of several contributors counts in full for each.

    Tables and memberships are read once, for however many contributors.
    """
    train = background.train
    owners, items = np.nonzero(train.membership.T)  # items ascend for each owner
    ends = np.searchsorted(owners, np.arange(len(train.contributors) + 1))
    places = {name: items[ends[place] : ends[place + 1]] for place, name in enumerate(train.contributors)}
    methods = []
    for valuation in background.valuations:
        by_id = valuation.table.drop_duplicates("id").set_index("id")["value"]
        values = by_id.reindex(list(train.ids)).to_numpy(float)  # (images,), not a number where there is no value
        methods.append((valuation.method, values, float(by_id.sum())))

    def valued(name: str) -> tuple[ImageValues, ...]:
        return tuple(_values(background, name, places[name], *known) for known in methods)

    return valued


def _values(
    background: Background, name: str, places: np.ndarray, method: str, values: np.ndarray, whole: float
) -> ImageValues:
    """Values of one contributor's images.

    Args:
        places: of these images.
        values: of all images.
        whole: sum of all values.
    """
    train, files = background.train, background.files.get(name, {})
    own = values[places]
    total = float(np.nansum(own))
    order = np.argsort(-own, kind="stable")[:TILES]  # what is not a number comes last
    best = [int(places[place]) for place in order if own[place] > 0]
    return ImageValues(
        method=method,
        total=total,
        whole=whole,
        share=total / whole if method == "gmvaluator" and whole > 0 else None,
        tiles=tuple(
            Tile(
                train.ids[item],
                sheet(train.images[[item]], 1),
                float(values[item]),
                files.get(train.ids[item], ""),
                background.about.get(train.ids[item], ""),
            )
            for item in best
        ),
    )


@dataclass(frozen=True)
class EarlierCredit:
    """A contributor's row in an earlier credit table.

    Attributes:
        rank: rank by credit, or the range of ranks that intervals leave; 1 is the highest.
    """

    rank: str
    items: int
    credit: float
    low: float
    high: float


def _earlier_credit(space: Workspace, earlier: EarlierRun | None) -> dict[str, EarlierCredit]:
    """Earlier credit by contributor; empty without an earlier run."""
    if earlier is None:
        return {}
    rows = ranked(load_table(space, earlier.stages.credit.outputs.table)).to_dict("records")
    return {
        row["contributor"]: EarlierCredit(
            rank_text(row["rank_best"], row["rank_worst"]), row["items"], row["credit"], row["ci_low"], row["ci_high"]
        )
        for row in rows
    }


def _step(space: Workspace, earlier: EarlierRun | None, stages: RunStages) -> Step | None:
    """What moved since the earlier run; None if there is none, or its images are not in this store."""
    if earlier is None:
        return None
    try:
        return Step(False, state_of(space, earlier.stages), state_of(space, stages))
    except StoreError as error:
        logger.warning("The contributor pages do not say what moved since the earlier run: %s", error)
        return None


def _changes(
    row: ContributorRow,
    then: EarlierCredit,
    earlier: EarlierRun,
    language: Language,
) -> Iterator[tuple[str, str, str]]:
    """Rows of name, earlier value and present value. Unchanged values are included."""
    noise = then.credit != row.credit and not told_apart((then.low, then.high), (row.ci_low, row.ci_high))
    t = language.text

    def credit(value: float) -> str:
        return language.localized(f"{value:+.4f}")

    def interval(low: float, high: float) -> str:
        return t("range", low=credit(low), high=credit(high))

    yield t("change_credit_open" if noise else "change_credit"), credit(then.credit), credit(row.credit)
    yield t("change_interval"), interval(then.low, then.high), interval(row.ci_low, row.ci_high)
    yield t("change_rank"), then.rank, row.rank
    yield t("change_trained"), str(then.items), str(row.items)
    paid = earlier.stages.pay
    yield (
        t("amount"),
        _amount(paid.outputs.settlements.get(row.name), 0.0, paid.inputs.config["currency"], language),
        row.amount,
    )


def _amount(settlement: Settlement | None, share: float, currency: str, language: Language) -> str:
    """What a contributor is paid; None is a team, whose authors are paid, or nobody if the payout was refused."""
    if settlement is not None:
        return language.money(settlement.amount, currency)
    return language.text("to_authors" if share else "none")
