"""Beside a payout: what it would be if two contributors were one person, or one were two."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

import numpy as np
from prefect import task
from prefect.cache_policies import NO_CACHE

from royalty.infra.settings import settings
from royalty.infra.workspace import Workspace, open_workspace
from royalty.models.data.stored import open_set
from royalty.models.payout.identities import merge, overlaps, split
from royalty.models.payout.policies import Credit
from royalty.tasks.config.payout import PayoutConfig
from royalty.tasks.credit.estimate import Credited, load_table
from royalty.tasks.credit.stages import INGEST, Ingested

ROUNDING = 2
"""Minor units by which two halves differ from the whole because each is rounded."""


@task(cache_policy=NO_CACHE)
def check_identities(run: str, credit: Credited, config: PayoutConfig, data: Ingested | None = None) -> list[str]:
    """Sentences on who would gain by a second name, and on contributors who bring the same images.

    Args:
        data: the images that are credited; None: those of the run's latest anchor, which may be older than its credit.
    """
    space = open_workspace(settings())
    table = load_table(space, credit.outputs.table)
    columns = (table[column].tolist() for column in ("credit", "ci_low", "ci_high"))
    credits = dict(zip(table["contributor"], map(Credit, *columns), strict=True))
    images = data or _anchored_images(space, run)
    shared = _shared_images(space, images, credit, credits) if images else ()
    return [_second_names(credits, config), *shared]


def _second_names(credits: Mapping[str, Credit], config: PayoutConfig) -> str:
    gains = {row.name: row.two - row.one for row in split(config.minor_units, credits, config.terms())}
    name = max(gains, key=lambda name: gains[name], default=None)
    if name is None or gains[name] <= ROUNDING:
        return "Nobody would have a larger share under two names, each with half of the credit."
    return (
        f"Under two names, each with half of the credit, {name} would have {config.formatted(gains[name])} more of the "
        f"pool, and so would {sum(gain > ROUNDING for gain in gains.values()) - 1} other(s) have more."
    )


def _anchored_images(space: Workspace, run: str) -> Ingested | None:
    anchor = space.runs.anchor(run)
    return None if anchor is None else INGEST.kept(space, anchor.stages.get(INGEST.name, ""))


def _shared_images(space: Workspace, data: Ingested, credit: Credited, credits: Mapping[str, Credit]) -> Iterator[str]:
    images = open_set(space.artifacts.verified(data.outputs.train))
    names = list(images.contributors)
    if set(names) != set(credits):
        return
    masks, utilities = _measured(space, credit, names)
    ends = credit.outputs.null_utility, credit.outputs.grand_utility
    for first, second, share in overlaps(images.images, images.membership):
        one, other = names[first], names[second]
        apart = credits[one].value + credits[other].value
        merged = merge(masks, utilities, *ends, (first, second))
        together = "too few coalitions with both or neither were measured" if merged is None else f"{merged:+.3f}"
        yield (
            f"{one} and {other} have {share:.0%} of the smaller one's images in common, exactly or nearly: their "
            f"credits sum to {apart:+.3f}; as one contributor: {together}."
        )


def _measured(space: Workspace, credit: Credited, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Masks, `(coalitions, contributors)`, and the mean utility of each coalition except nobody's and everybody's."""
    rows = space.runs.measurements(credit.inputs.measurements).values()
    coalitions = space.runs.coalitions(row.coalition for row in rows)
    utilities: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for row in rows:
        utilities[tuple(sorted(coalitions[row.coalition].members))].append(row.utility)
    proper = {members: values for members, values in utilities.items() if 0 < len(members) < len(names)}
    masks = np.array([[name in members for name in names] for members in proper], dtype=bool)
    return masks.reshape(-1, len(names)), np.array([np.mean(values) for values in proper.values()])
