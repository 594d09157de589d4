"""Pictures of a match: generated images with the training images that they are matched with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from royalty.infra.pages.pictures import sheet
from royalty.infra.pages.report import Matches, MatchRow
from royalty.infra.stores.artifacts import ArtifactStore
from royalty.models.judging.criteria import rank_agreement
from royalty.models.valuation.items import contributor_values
from royalty.tasks.items.stages import MatchOutputs
from royalty.tasks.items.stored_items import load_contributions, load_items, load_values

SHOWN, BEHIND, NAMED = 12, 8, 3
"""Number of generated images, of training images beside each, and of contributors named for each."""


def pictures(
    artifacts: ArtifactStore, name: str, train: str, generated: str, matched: MatchOutputs
) -> dict[str, bytes]:
    """PNGs by file name.

    Args:
        train, generated: digests of the items of both sides.
    """
    from royalty.infra.pages.plots import spread_of_values  # matplotlib takes a second to import

    values = load_values(artifacts, matched.table)["value"].to_numpy()
    drawn = {"values.png": spread_of_values(f"{name}: value by GMValuator", {"all items": values})}
    items, made = load_items(artifacts, train), load_items(artifacts, generated)
    if items.images is not None and made.images is not None:
        contributions = load_contributions(artifacts, matched.contributions)
        drawn["behind.png"] = behind(items.images, made.images, contributions)
    return drawn


def match_section(artifacts: ArtifactStore, matched: MatchOutputs, credits: Sequence[tuple[str, float]]) -> Matches:
    """Compose the report section on a match.

    Args:
        matched: outputs of a match with known `sides`.
        credits: name and credit of each contributor, in the order of the report.
    """
    items, generated = (load_items(artifacts, matched.sides[side]) for side in ("train", "generated"))
    if items.images is None or generated.images is None or items.contributors is None or matched.contributors is None:
        raise ValueError("a report shows images and their contributors")
    known = load_contributions(artifacts, matched.contributions)
    rows = []
    for image, nearby in nearest(known)[::2]:
        scores = known.loc[known["generated"] == image, ["item", "score"]]
        owners = [items.contributors[row] for row in scores["item"]]
        own = contributor_values(scores["score"].to_numpy(), owners)
        whole = sum(own.values()) or 1.0
        named = sorted(((name, value / whole) for name, value in own.items()), key=lambda pair: -pair[1])
        made, strip = sheet(generated.images[[image]], 1), sheet(items.images[nearby], BEHIND)
        rows.append(MatchRow(made, strip, tuple(named[:NAMED])))
    total = sum(matched.contributors.values()) or 1.0
    shares = tuple((name, matched.contributors.get(name, 0.0) / total) for name, _ in credits)
    values, others = np.array([share for _, share in shares]), np.array([credit for _, credit in credits])
    diagnostics = matched.diagnostics
    return Matches(
        images=matched.generated,
        shown=tuple(rows),
        shares=shares,
        agreement=rank_agreement(values, others).spearman if np.ptp(values) and np.ptp(others) else None,
        diagnostics=(
            ("Training images that share a generated one, effectively", f"{diagnostics['effective_neighbours']:.1f}"),
            ("Value lost to generated images of low quality", f"{diagnostics['quality_lost']:.0%}"),
            ("Nearest images that the index found", f"{diagnostics['recall']:.1%}"),
            ("Training images that stand behind none", str(diagnostics["zero_items"])),
        ),
    )


def behind(images: np.ndarray, generated: np.ndarray, contributions: pd.DataFrame) -> bytes:
    """A sheet of generated images, each beside the training images of highest score behind it."""
    rows = []
    for image, chosen in nearest(contributions):
        own = images[chosen]
        blank = np.full_like(own[:1], 255)
        padding = np.repeat(blank, BEHIND - len(own), axis=0)
        rows += [alike(generated[[image]], own), blank, own, padding]
    return sheet(np.concatenate(rows), columns=BEHIND + 2)


def nearest(contributions: pd.DataFrame) -> list[tuple[int, np.ndarray]]:
    """Generated images, evenly over all of them, and the rows of the items of highest score behind each."""
    images = contributions["generated"].unique()
    chosen = images[np.linspace(0, len(images) - 1, min(SHOWN, len(images))).astype(int)]
    return [
        (int(image), contributions.loc[contributions["generated"] == image, "item"].to_numpy()[:BEHIND])
        for image in chosen
    ]


def alike(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Images with as many channels as the others have: greyscale is repeated."""
    return np.broadcast_to(images, (len(images), *others.shape[1:])) if images.shape != others.shape else images
