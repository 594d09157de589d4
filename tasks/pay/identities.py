"""Checks for a payout: gains from splitting into two identities, and contributors with images in common."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

import numpy as np
from prefect.cache_policies import NO_CACHE

from royalty.infra.settings import settings
from royalty.infra.workspace import Workspace, open_workspace
from royalty.models.base.errors import InputError
from royalty.models.data.stored import open_set
from royalty.models.payout.identities import merge, overlaps, split, split_names
from royalty.models.payout.policies import Credit
from royalty.models.valuation.coalitions import masks_of
from royalty.models.valuation.semivalue_estimates import second_name_gains
from royalty.models.valuation.shapley import estimate_shapley
from royalty.tasks.config.payout import PayoutConfig
from royalty.tasks.credit.estimate import Credited, load_table
from royalty.tasks.credit.stages import INGEST, Ingested
from royalty.tasks.pay.credits import credits_of, images_of
from royalty.tasks.stages.task import task

FAITHFUL = "faithful"
"""Estimator of credit that no second name changes."""

HIGHEST = 12
"""Contributors of highest credit of whom the report names who would gain most by a second name."""

ROUNDING = 2
"""Largest difference in minor units that rounding alone causes between two halves and the whole."""


NOTHING = 1e-6
"""Largest gain, of all credit, that rounding alone causes."""


@task(name="check split identities", cache_policy=NO_CACHE)
def check_identities(run: str, credit: Credited, config: PayoutConfig, data: Ingested | None = None) -> list[str]:
    """Report who would gain from a second identity, and which contributors have images in common.

    Args:
        data: the credited images; None: those of the run's latest anchor, which may be older than its credit.

    Returns:
        Sentences for the report.
    """
    space = open_workspace(settings())
    table = load_table(space, credit.outputs.table)
    credits = credits_of(table)
    images = data or _anchored_images(space, run)
    shared = _shared_images(space, images, credit, credits) if images else ()
    names = second_names(credits, config, images_of(table))
    if credit.outputs.diagnostics.get("estimator") == FAITHFUL:
        return [
            names,
            "Coalitions are sets of images: what the images under two names earn together is what they earn.",
        ]
    if credit.inputs.groups:
        return [
            names,
            "Coalitions are of groups of contributors, so that credit under two names was computed for nobody, and "
            "nobody's images were compared.",
        ]
    return [names, *_substituted(space, credit, credits), *shared]


def second_names(credits: Mapping[str, Credit], config: PayoutConfig, images: Mapping[str, int] | None = None) -> str:
    """Say how many contributors would get more under two names, and who would gain most."""
    terms = config.terms()
    splits, tried = split(config.minor_units, credits, terms, images), split_names(credits, terms)
    gaining = [row for row in splits if row.combined - row.undivided > ROUNDING]
    halves = "two contributors, each with half of the credit and an interval as wide as before"
    all_tried = len(tried) == len(credits)
    among = f"{len(tried)} contributors" if all_tried else f"the {len(tried)} contributors of highest credit"
    unsplit = sum(credits[name].value > 0 for name in tried) - len(splits)
    unchecked = "" if all_tried else f" The other {len(credits) - len(tried)} of {len(credits)} were not checked."
    unchecked += f" For {unsplit}, the terms allow no second name." if unsplit else ""
    if not gaining:
        nobody = "Nobody" if all_tried else f"None of {among}"
        return f"{nobody} would get more of the pool as {halves}.{unchecked}"
    most = max(gaining, key=lambda row: row.combined - row.undivided)
    return (
        f"{len(gaining)} of {among} would get more of the pool as {halves}. {most.name} would gain most: "
        f"{config.formatted(most.combined)} instead of {config.formatted(most.undivided)}. {_why(config)}Check who is "
        f"behind each name before you pay.{unchecked}"
    )


def _why(config: PayoutConfig) -> str:
    """Why a second name can pay under these terms: sentences with a space after each, or nothing."""
    reasons = []
    if config.policy == "equal-tiers":
        reasons.append("Members of a tier are paid the same, so that a person with two names in it is paid twice.")
    if config.floor or config.cap < 1:
        reasons.append("Floors and caps apply to each name.")
    if config.equal_share and config.equal_by == "contributor":
        reasons.append("The equal part of the pool is the same for each name.")
    if config.policy == "by-reliability":
        reasons.append("What is divided by credit, and what equally, changes with the number of names.")
    return "".join(f"{reason} " for reason in reasons)


def _substituted(space: Workspace, credit: Credited, credits: Mapping[str, Credit]) -> Iterator[str]:
    """Say who of those of highest credit would gain most by a second name, in the game of measured coalitions."""
    names = sorted(credits)
    masks, utilities = _measured(space, credit, names)
    ends = credit.outputs.ends
    try:
        gains = second_name_gains(masks, utilities, *ends)
    except InputError:  # too few coalitions were measured
        return
    highest = sorted(range(len(names)), key=lambda column: -credits[names[column]].value)[:HIGHEST]
    most = max(highest, key=lambda column: gains.values[column])
    gain, low, high, whole = gains.values[most], gains.ci_low[most], gains.ci_high[most], ends[1] - ends[0]
    share = f", {gain / whole:.1%} of all credit" if whole > 0 else ""
    who = (
        f"{names[most]} would gain most, {gain:+.3f} ({low:+.3f} to {high:+.3f}){share}"
        if gain > NOTHING * abs(whole)
        else "nobody would gain"
    )
    yield (
        f"With one contributor as two names, where a model with either half of the images is as good as with both: of "
        f"the {len(highest)} of highest credit, {who}. This is computed of a game fitted to the measured coalitions"
        f"{' of the first pipeline' if credit.inputs.pipelines else ''}. "
        "Where halves add up, nobody would gain. Credit from sets of images (`coalitions.units: images`) does not "
        "depend on names."
    )


def _anchored_images(space: Workspace, run: str) -> Ingested | None:
    anchor = space.runs.anchor(run)
    return None if anchor is None else INGEST.kept(space, anchor.stages.get(INGEST.name, ""))


def _shared_images(space: Workspace, data: Ingested, credit: Credited, credits: Mapping[str, Credit]) -> Iterator[str]:
    images = open_set(space.artifacts.verified(data.outputs.train))
    paid = np.array([name not in data.outputs.public for name in images.contributors])
    names = np.array(images.contributors)[paid].tolist()
    if set(names) != set(credits):
        return
    masks, utilities = _measured(space, credit, names)
    ends, title, one = credit.outputs.ends, "Sum of their credits", "Credit"
    values = np.array([credits[name].value for name in names])
    one_game = not (credit.inputs.retrained or credit.inputs.pipelines)
    if not one_game or credit.inputs.config.value != "shapley":
        # What a merged contributor gets is known for Shapley values of the measured models alone.
        values = estimate_shapley(masks, utilities, *ends).values
        title, one = "Sum of their Shapley values", "Value"
        title += " by the cheap models, which retrained ones do not correct here" if credit.inputs.retrained else ""
        title += " in the first pipeline" if credit.inputs.pipelines else ""
    for first, second, share in overlaps(images.images, images.membership[:, paid]):
        first_name, second_name = names[first], names[second]
        separate = values[first] + values[second]
        merged = merge(masks, utilities, *ends, (first, second))
        joint = "unknown, because too few coalitions contain both or neither" if merged is None else f"{merged:+.3f}"
        yield (
            f"{first_name} and {second_name} have {share:.0%} of the smaller set of images in common, exactly or "
            f"nearly. {title}: {separate:+.3f}. {one} as one contributor: {joint}."
        )


def _measured(space: Workspace, credit: Credited, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Masks, `(coalitions, contributors)`, and mean utilities of all coalitions but the null and the grand one.

    Of several pipelines, those of the first: each has a game of its own.
    """
    rows = space.runs.measurements(credit.inputs.of_one_game).values()
    coalitions = space.runs.coalitions(row.coalition for row in rows)
    utilities: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for row in rows:
        utilities[tuple(sorted(coalitions[row.coalition].members))].append(row.utility)
    proper = {members: values for members, values in utilities.items() if 0 < len(members) < len(names)}
    return masks_of(proper, names), np.array([np.mean(values) for values in proper.values()])
