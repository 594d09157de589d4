"""Pictures for a match: generated images next to the training images that contribute to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from royalty.infra.pages.pictures import sheet
from royalty.infra.pages.report import CopyRow, Matches, MatchRow, SourceRow
from royalty.infra.stores.artifacts import ArtifactStore
from royalty.models.data.teams import credited
from royalty.models.judging.criteria import rank_agreement
from royalty.models.valuation.items import contributor_values
from royalty.tasks.credit.listed import lines_about
from royalty.tasks.items.stages import MatchOutputs
from royalty.tasks.items.stored_items import ASKED, load_contributions, load_items, load_values

IMAGES_SHOWN, NEIGHBOURS_SHOWN, CONTRIBUTORS_NAMED = 12, 8, 3
"""Number of generated images shown, of training images next to each, and of contributors named for each."""
SOURCES_SHOWN = 6
"""Number of training images next to a generated one in the report, where each has a text."""


def pictures(
    artifacts: ArtifactStore, name: str, train: str, generated: str, matched: MatchOutputs
) -> dict[str, bytes]:
    """Draw the pictures of a match; PNG bytes by file name.

    Args:
        name: of the valuation, for titles.
        train, generated: digests of the items of both sides.
    """
    from royalty.infra.pages.plots import spread_of_values  # matplotlib takes a second to import

    values = load_values(artifacts, matched.table)["value"].to_numpy()
    pngs = {"values.png": spread_of_values(f"{name}: value by GMValuator", {"all items": values})}
    items, generated_items = load_items(artifacts, train), load_items(artifacts, generated)
    if items.images is not None and generated_items.images is not None:
        contributions = load_contributions(artifacts, matched.contributions)
        pngs["behind.png"] = contribution_sheet(items.images, generated_items.images, contributions)
    return pngs


def match_section(artifacts: ArtifactStore, matched: MatchOutputs, credits: Sequence[tuple[str, float]]) -> Matches:
    """Compose the section of the report about a match.

    Args:
        matched: outputs of a match whose `sides` are recorded.
        credits: name and credit of each contributor, in the order of the report.
    """
    items, generated = (load_items(artifacts, matched.sides[side]) for side in ("train", "generated"))
    if items.images is None or generated.images is None or items.contributors is None or matched.contributors is None:
        raise ValueError("the report section needs images and their contributors, and the match has none; value images")
    contributions = load_contributions(artifacts, matched.contributions)
    rows = []
    for image, neighbours in nearest(contributions)[::2]:
        scores = contributions.loc[contributions["generated"] == image, ["item", "score"]]
        owners = [items.contributors[row] for row in scores["item"]]
        by_name = contributor_values(scores["score"].to_numpy(), owners)
        total = sum(by_name.values()) or 1.0
        ranked = sorted(((name, value / total) for name, value in by_name.items()), key=lambda pair: -pair[1])
        sources = neighbours[:SOURCES_SHOWN].tolist()
        rows.append(
            MatchRow(
                image=sheet(generated.images[[image]], 1),
                asked=generated.described[ASKED][image] if ASKED in generated.described else "",
                sources=tuple(
                    SourceRow(
                        image=sheet(items.images[[row]], 1),
                        names=tuple(credited(items.contributors[row])),
                        share=float(scores.loc[scores["item"] == row, "score"].iloc[0]) / total,
                        about=about,
                    )
                    for row, about in zip(sources, lines_about(items.described, sources), strict=True)
                ),
                names=tuple(ranked[:CONTRIBUTORS_NAMED]),
            )
        )
    total = sum(matched.contributors.values()) or 1.0
    shares = tuple((name, matched.contributors.get(name, 0.0) / total) for name, _ in credits)
    values, credit = np.array([share for _, share in shares]), np.array([value for _, value in credits])
    diagnostics, copied = matched.diagnostics, [pair.item for pair in matched.copied]
    temperature = diagnostics.get("temperature")  # matches of earlier versions lack it
    return Matches(
        images=matched.generated,
        shown=tuple(rows),
        shares=shares,
        agreement=rank_agreement(values, credit).spearman if np.ptp(values) and np.ptp(credit) else None,
        diagnostics=(
            (
                "Effective number of training images that share a generated image",
                f"{diagnostics['effective_neighbours']:.1f}",
            ),
            *((("Temperature of the shares", f"{temperature:.3g}"),) if temperature is not None else ()),
            ("Value lost to generated images of low quality", f"{diagnostics['quality_lost']:.0%}"),
            ("Fraction of the nearest images that the index finds", f"{diagnostics['recall']:.1%}"),
            ("Training images that contribute to no generated image", str(diagnostics["zero_items"])),
            *_notes_on_copies(matched),
        ),
        copied=diagnostics.get("memorized"),
        copies=tuple(
            CopyRow(
                image=sheet(generated.images[[pair.generated]], 1),
                source=sheet(items.images[[pair.item]], 1),
                names=tuple(credited(items.contributors[pair.item])),
                about=about,
                p_value=pair.p_value,
            )
            for pair, about in zip(matched.copied, lines_about(items.described, copied), strict=True)
        ),
    )


def _notes_on_copies(matched: MatchOutputs) -> Iterator[tuple[str, str]]:
    """Names and values of the diagnostics on copies; matches of earlier versions have none."""
    diagnostics = matched.diagnostics
    if "copies" in diagnostics:
        yield "Training images that are near copies of earlier ones, and share their place", str(diagnostics["copies"])
    if "memorized" in diagnostics:
        yield (
            "Generated images that are copies of training images, at a false discovery rate of 5%",
            f"{diagnostics['memorized']} of {matched.generated}",
        )
        yield (
            "Smallest p-value of this test that the held-out images allow",
            f"{diagnostics['memorization_smallest_p']:.2g}",
        )


def contribution_sheet(images: np.ndarray, generated: np.ndarray, contributions: pd.DataFrame) -> bytes:
    """Draw a sheet of generated images, each next to the training images that contribute most to it."""
    rows = []
    for image, items in nearest(contributions):
        neighbours = images[items]
        blank = np.full_like(neighbours[:1], 255)
        padding = np.repeat(blank, NEIGHBOURS_SHOWN - len(neighbours), axis=0)
        rows += [with_channels_of(generated[[image]], neighbours), blank, neighbours, padding]
    return sheet(np.concatenate(rows), columns=NEIGHBOURS_SHOWN + 2)


def nearest(contributions: pd.DataFrame) -> list[tuple[int, np.ndarray]]:
    """Evenly spaced generated images, each with the rows of the items that contribute most to it."""
    images = contributions["generated"].unique()
    sampled = images[np.linspace(0, len(images) - 1, min(IMAGES_SHOWN, len(images))).astype(int)]
    return [
        (int(image), contributions.loc[contributions["generated"] == image, "item"].to_numpy()[:NEIGHBOURS_SHOWN])
        for image in sampled
    ]


def with_channels_of(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Repeat the channel of greyscale images if the others are in colour."""
    return np.broadcast_to(images, (len(images), *others.shape[1:])) if images.shape != others.shape else images
