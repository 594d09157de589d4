"""What contributors can look at: models with and without contributors of highest credit, and of each one alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from prefect.cache_policies import NO_CACHE

from royalty.infra.processes.workers import Deferred
from royalty.infra.settings import settings
from royalty.infra.workspace import open_workspace
from royalty.models.judging.datamodeling import without_top
from royalty.models.judging.draws import over_draws
from royalty.models.properties.registry import PROPERTIES, chosen_property
from royalty.tasks.config.credit import CreditConfig
from royalty.tasks.credit.coalitions import Members
from royalty.tasks.credit.estimate import Credited, load_table
from royalty.tasks.credit.plan import CoalitionPlan
from royalty.tasks.credit.stages import Classified, Ingested
from royalty.tasks.judge.held_out import REMOVED
from royalty.tasks.judge.stages import OWN_IMAGES, OwnImages, OwnImagesInputs
from royalty.tasks.judge.utilities import seeded_utilities
from royalty.tasks.stages.running import run_in_worker
from royalty.tasks.stages.stage import TableRow
from royalty.tasks.stages.task import task

if TYPE_CHECKING:
    from royalty.tasks.judge import own_images_worker as worker
else:
    worker = Deferred("royalty.tasks.judge.own_images_worker")

ALONE = 24
"""Most contributors whose models alone are shown; of more, half are of the highest and half of the lowest credit."""
BESIDE = ("diversity", "kid")
"""Properties that are shown beside that of the run: variety, and resemblance to images that nobody trained on."""
VARIETY = ("class-entropy", "cluster-entropy")
"""Properties of a contributor's own images."""


@dataclass(frozen=True)
class Shown:
    """A coalition whose model is shown, and what it is called."""

    title: str
    members: Members


def shown_coalitions(credited: Mapping[str, float], players: Sequence[str]) -> list[Shown]:
    """Everybody, without those of highest credit, nobody, and contributors alone, highest credit first.

    Fractions of `REMOVED` that leave out equally many are shown once, and none that leaves nobody.

    Args:
        credited: credit by contributor.
        players: contributors in the order that coalitions list them in.
    """
    values = np.array([credited[name] for name in players])
    shown = [Shown("everybody", tuple(players))]
    left_out: set[int] = set()
    for share in REMOVED:
        kept = without_top(values, share)
        number = int(len(players) - kept.sum())
        if kept.any() and number not in left_out:
            left_out.add(number)
            shown.append(Shown(f"without the {number} of highest credit", tuple(np.array(players)[kept].tolist())))
    ranked = sorted(players, key=lambda name: -credited[name])
    alone = ranked if len(ranked) <= ALONE else [*ranked[: ALONE // 2], *ranked[-ALONE // 2 :]]
    return [*shown, Shown("nobody", ()), *(Shown(f"only {name}", (name,)) for name in alone)]


def credit_of(credited: Credited) -> dict[str, float]:
    """Credit by contributor, highest first."""
    table = load_table(open_workspace(settings()), credited.outputs.table)
    return dict(zip(table["contributor"], table["credit"].astype(float), strict=True))


def shown_properties(written: str) -> list[str]:
    """The property of a run, and those beside it that are not the same one."""
    own = chosen_property(written).known
    return [written, *(name for name in BESIDE if PROPERTIES[name] is not own)]


def gallery_rows(shown: Sequence[Shown], plans: Mapping[str, Sequence[CoalitionPlan]]) -> list[TableRow]:
    """The properties of each shown coalition's models: mean and 95% interval over training seeds.

    A coalition whose trainings failed has no row.

    Args:
        plans: of the models, by the property that they are measured by.
    """
    space, rows = open_workspace(settings()), list[TableRow]()
    for name, planned in plans.items():
        by_seed = seeded_utilities(space, planned).values()
        for each in shown:
            values = [utilities[each.members] for utilities in by_seed if each.members in utilities]
            if values:
                drawn = over_draws(values)
                low, high = (None, None) if len(values) == 1 else (drawn.low, drawn.high)
                row = {"models": each.title, "contributors": len(each.members), "property": name}
                rows.append({**row, "value": drawn.mean, "low": low, "high": high, "seeds": len(values)})
    return rows


def first_models(shown: Sequence[Shown], plans: Sequence[CoalitionPlan]) -> dict[str, str]:
    """Digest of the first model of each shown coalition that was trained, by title."""
    rows = open_workspace(settings()).runs.coalitions(plan.key for plan in plans)
    found: dict[Members, str] = {}
    for plan in plans:
        checkpoint = rows[plan.key].checkpoint if plan.key in rows else None
        if checkpoint is not None:
            found.setdefault(plan.members, checkpoint)
    return {each.title: found[each.members] for each in shown if each.members in found}


@task(name="measure own images", cache_policy=NO_CACHE)
def measure_own_images(data: Ingested, judge: Classified, config: CreditConfig) -> OwnImages:
    """Measure how varied the training images of each contributor are, as the method's paper does (appendix D.5).

    Classes need a set with labels, and clusters need enough held-out images.
    """
    able = {
        "class-entropy": len(data.outputs.label_names) > 1,
        "cluster-entropy": (data.outputs.references or 0) >= PROPERTIES["cluster-entropy"].references,
    }
    properties = [name for name in VARIETY if able[name]]
    inputs = OwnImagesInputs(data.outputs.train, judge.outputs.classifier, judge.inputs.images, properties)
    also = [module for name in properties for module in chosen_property(name).modules]
    return run_in_worker(
        OWN_IMAGES, inputs, worker.measure_own_images, also=also, title="Measure own images", total=len(properties)
    )
