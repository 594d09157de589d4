"""Beside a payout: what it would be if two contributors were one person, or one were two."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

import numpy as np
from prefect import task
from prefect.cache_policies import NO_CACHE

from royalty.infra.settings import settings
from royalty.infra.stores.runstore import StageRecord
from royalty.infra.workspace import Workspace, open_workspace
from royalty.models.data.stored import open_set
from royalty.models.payout.identities import merge, overlaps, split
from royalty.models.payout.policies import Credit
from royalty.tasks.config.payout import PayoutConfig
from royalty.tasks.credit.estimate import load_table

ROUNDING = 2
"""Minor units by which two halves differ from the whole because each is rounded."""


@task(cache_policy=NO_CACHE)
def check_identities(run: str, credit: StageRecord, config: PayoutConfig, data: StageRecord | None = None) -> list[str]:
    """Sentences on who would gain by a second name, and on contributors who bring the same images.

    Args:
        data: the images that are credited; None: those of the run's latest anchor, which may be older than its credit.
    """
    space = open_workspace(settings())
    table = load_table(space, credit.outputs["table"])
    columns = (table[column].tolist() for column in ("credit", "ci_low", "ci_high"))
    credits = dict(zip(table["contributor"], map(Credit, *columns), strict=True))
    return [_second_names(credits, config), *_same_images(space, data or _anchored(space, run), credit, credits)]


def _second_names(credits: Mapping[str, Credit], config: PayoutConfig) -> str:
    gains = {row.name: row.two - row.one for row in split(config.minor_units, credits, config.terms())}
    name = max(gains, key=lambda name: gains[name], default=None)
    if name is None or gains[name] <= ROUNDING:
        return "Nobody would have a larger share under two names, each with half of the credit."
    return (
        f"Under two names, each with half of the credit, {name} would have {config.formatted(gains[name])} more of the "
        f"pool, and so would {sum(gain > ROUNDING for gain in gains.values()) - 1} other(s) have more."
    )


def _anchored(space: Workspace, run: str) -> StageRecord | None:
    anchor = space.runs.anchor(run)
    return None if anchor is None else space.runs.stage(anchor.stages.get("ingest", ""))


def _same_images(
    space: Workspace, data: StageRecord | None, credit: StageRecord, credits: Mapping[str, Credit]
) -> Iterator[str]:
    if data is None:
        return
    images = open_set(space.artifacts.verified(data.outputs["train"]))
    names = list(images.contributors)
    if set(names) != set(credits):
        return
    masks, utilities = _measured(space, credit, names)
    ends = credit.outputs["null_utility"], credit.outputs["grand_utility"]
    for first, second, share in overlaps(images.images, images.membership):
        one, other = names[first], names[second]
        apart = credits[one].value + credits[other].value
        together = merge(masks, utilities, *ends, (first, second))
        found = "too few coalitions with both or neither to say" if together is None else f"{together:+.3f}"
        yield (
            f"{one} and {other} have {share:.0%} of the smaller one's images in common, exactly or nearly: their "
            f"credits sum to {apart:+.3f}; as one contributor: {found}."
        )


def _measured(space: Workspace, credit: StageRecord, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Masks, `(coalitions, contributors)`, and the mean utility of each coalition but nobody's and everybody's."""
    rows = space.runs.measurements(credit.inputs["measurements"]).values()
    members = space.runs.coalitions(row.coalition for row in rows)
    by_coalition: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for row in rows:
        by_coalition[tuple(sorted(members[row.coalition].members))].append(row.utility)
    proper = {own: values for own, values in by_coalition.items() if 0 < len(own) < len(names)}
    masks = np.array([[name in own for name in names] for own in proper], dtype=bool).reshape(-1, len(names))
    return masks, np.array([np.mean(values) for values in proper.values()])
