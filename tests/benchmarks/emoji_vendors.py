"""The same emoji by six vendors: all 62 coalitions retrained in full, and every method's error against them.

python -m tests.benchmarks.emoji_vendors FOLDER [--data emoji_by_vendor.parquet] [--only METHOD]
python -m tests.benchmarks.emoji_errors FOLDER

The first makes the models of all coalitions by five methods and keeps their utilities in FOLDER/utilities.jsonl; what
is there is not repeated, so that it can be stopped and continued. The second needs seconds.

Decided before the run:
- The truth is the Shapley values of the mean utility over the training seeds 0 and 1 of all coalitions, retrained.
- Seed 0 of `sparsified` and of `finetune`; seed 2 of `retrain` for what is estimated from few retrained models.
- Errors are root mean squares of credit less its mean, in units of the standard deviation of the true credit, and rank
  agreement is Spearman's. Scores without a unit are scaled by the least squares that favour them most.
- Estimates from fewer than all coalitions are means over 20 draws of coalitions.
- Compared: Shapley values from each method at 12, 20, 30 and 62 coalitions, leave-one-out, number of images, property
  of one's own images, similarity of pixels and features, TRAK and D-TRAK, and, as the floor, one retraining of
  everything.

Added after the run was begun: seeds 0 to 2 of `pooled` and of `amortized`, and credit from few retrained models by the
slope alone. What the coalitions of a seed share (models of single vendors and their images, or the one model that is
told coalitions) counts as seconds of everybody's model, which every estimate takes.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
from PIL import Image

from royalty.models.data.items import ImageSet, item_id
from royalty.models.generators.ddpm import DDPM
from royalty.models.generators.differentiable import of_denoiser
from royalty.models.generators.generator import NOTHING_ELSE
from royalty.models.generators.gradients import loss_gradients
from royalty.models.generators.mixture import Mixture
from royalty.models.generators.retraining import coalition_models
from royalty.models.generators.training import UNLEARNING, Method, Training
from royalty.models.properties.kid import build
from royalty.models.properties.property import Context, Property
from royalty.models.valuation.influence import trak
from royalty.models.valuation.similarity import aggregate, feature_similarity, pixel_similarity

DATA = Path("emoji_by_vendor.parquet")
SIDE, HELD_OUT = 16, 0.15
"""Side of the images in pixels, and the fraction of concepts whose drawings no generator sees."""

NET = {"block_channels": [16, 32], "patch": 2, "layers_per_block": 1, "groups": 8}
BASE_STEPS, RECOVERY_STEPS, RATIO = 800, 100, 0.5
SETTINGS: dict[Method, Training] = {
    "retrain": Training(400, 32, 3e-3, 0.995, 1, 0.1),
    "finetune": Training(70, 32, 3e-3, 0.98, 1, 0.1),
    "sparsified": Training(70, 32, 3e-3, 0.98, 1, 0.1),
    "pooled": Training(70, 32, 3e-3, 0.98, 1, 0.1),
    "amortized": Training(280, 32, 3e-3, 0.98, 1, 0.1),
    "gradient-ascent": Training(10, 32, 0.03, 0.98, 1, 0.1),
    "influence": Training(1, 32, 3e-3, 0.98, 10, 0.1),
    "mirrored": Training(70, 32, 3e-3, 0.98, 1, 0.1),
}
PRUNED: tuple[Method, ...] = ("sparsified", "pooled", "amortized", *UNLEARNING)
"""Methods that start from the pruned model."""
SHARING: tuple[Method, ...] = ("pooled", "amortized")
"""Methods whose coalitions share trainings."""
SEEDS: tuple[tuple[Method, int], ...] = (
    ("sparsified", 0), ("pooled", 0), ("retrain", 0), ("retrain", 1), ("finetune", 0), ("retrain", 2),
    ("pooled", 1), ("pooled", 2), ("amortized", 0), ("amortized", 1), ("amortized", 2),
    ("mirrored", 0), ("mirrored", 1), ("mirrored", 2), ("influence", 0), ("gradient-ascent", 0),
)  # fmt: skip
"""What is trained, in this order."""
IMAGES, STEPS, STACK, QUERIED = 160, 6, 8, 600
"""Images of each model, their sampling steps, models that are trained together, and images that baselines compare."""


@dataclass(frozen=True)
class Emoji:
    """Drawings to train on, by vendor, and drawings of other concepts to compare with."""

    train: ImageSet
    reference: np.ndarray


def read_emoji(path: Path) -> Emoji:
    table = pd.read_parquet(path)
    concepts = np.array(sorted(table["label"].unique()))
    chosen = np.random.default_rng(0).permutation(len(concepts))[: round(HELD_OUT * len(concepts))]
    held_out = table["label"].isin(concepts[chosen]).to_numpy()
    images = np.stack([_decoded(cell) for cell in table["image"]])  # (items, 3, side, side)
    ids = [item_id(image) for image in images]
    rows = np.flatnonzero(~held_out)
    owners = [[name] for name in table["contributor"].to_numpy()[rows]]
    train = ImageSet.merge(images[rows], [ids[row] for row in rows], np.zeros(len(rows), int), ["emoji"], owners)
    return Emoji(train, images[held_out])


def _decoded(cell: bytes) -> np.ndarray:
    """A drawing on white, uint8, `(3, side, side)`."""
    drawing = Image.open(io.BytesIO(cell)).convert("RGBA")
    page = Image.alpha_composite(Image.new("RGBA", drawing.size, "white"), drawing).convert("RGB")
    return np.asarray(page.resize((SIDE, SIDE), Image.Resampling.BOX)).transpose(2, 0, 1).copy()


def coalitions_of(n_players: int) -> np.ndarray:
    """All coalitions, nobody and everybody included, `(2^n, n)`."""
    return (np.arange(2**n_players)[:, None] >> np.arange(n_players)) & 1 == 1


@dataclass(frozen=True)
class Kept:
    """Utilities of models, one JSON line each: method, seed, mask as digits, utility, seconds."""

    file: Path

    def rows(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.file.read_text().splitlines()] if self.file.exists() else []

    def add(self, **row: object) -> None:
        with self.file.open("a") as stream:
            stream.write(json.dumps(row) + "\n")


def train(folder: Path, data: Path, only: str | None = None) -> None:
    """Train and measure what is not in the folder yet; by one method, if it is given."""
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    emoji, kept = read_emoji(data), Kept(folder / "utilities.jsonl")
    everyone = emoji.train.contributors
    credited = build(Context(emoji.reference, lambda images: images), "efficientnet-lite0")
    base, pruned = _starts(folder, emoji.train)
    masks = coalitions_of(len(everyone))
    for method, seed in SEEDS:
        if only not in (None, method):
            continue
        known = {row["mask"] for row in kept.rows() if (row["method"], row["seed"]) == (method, seed)}
        pending = [mask for mask in masks if _digits(mask) not in known]
        if method in SHARING and pending:  # what they share is trained once, for all coalitions
            pending = list(masks)
        together = len(masks) if method in SHARING else STACK
        for start in range(0, len(pending), together):
            stack = np.array(pending[start : start + together])
            for row in _measured(method, pruned if method in PRUNED else base, emoji, stack, seed, credited):
                kept.add(method=method, seed=seed, **row)
            print(f"{method}, seed {seed}: {min(start + together, len(pending))} of {len(pending)}", flush=True)
    scores = folder / "scores.json"
    if not scores.exists():
        scores.write_text(json.dumps(baseline_scores(base, emoji, credited)))


def baseline_scores(base: DDPM, emoji: Emoji, credited: Property) -> dict[str, dict[str, object]]:
    """Scores of the vendors without any coalition, `values` higher is more valuable, and processor `seconds`."""
    images, membership = emoji.train.images, emoji.train.membership
    chosen = np.random.default_rng(0).permutation(len(images))[:QUERIED]
    some, owners = images[chosen], membership[chosen]
    scores: dict[str, dict[str, object]] = {}

    def add(name: str, build_scores: Callable[[], np.ndarray]) -> None:
        began = time.process_time()
        values = build_scores().tolist()
        scores[name] = {"values": values, "seconds": time.process_time() - began}

    def gradients(loss: Literal["simple", "square"]) -> np.ndarray:
        options = {"timesteps": 10, "projection": 512, "seed": 0, "loss": loss}
        items, queries = (loss_gradients(of_denoiser(base), part, **options) for part in (some, made[:32]))
        return aggregate(trak(items, queries, damping=0.5), owners, "sum")

    made = base.sample(IMAGES, seed=0, steps=STEPS)
    add("number of images", lambda: membership.sum(axis=0).astype(float))
    own = [images[membership[:, vendor]][:IMAGES] for vendor in range(membership.shape[1])]
    add("property of own images", lambda: np.array([credited.of(part) for part in own]))
    add("pixel similarity (average)", lambda: aggregate(pixel_similarity(some, made), owners, "average"))
    features = credited.read(some), credited.read(made)
    add("encoder similarity (average)", lambda: aggregate(feature_similarity(*features), owners, "average"))
    add("encoder similarity (maximum)", lambda: aggregate(feature_similarity(*features), owners, "maximum"))
    add("TRAK (sum)", lambda: gradients("simple"))
    add("D-TRAK (sum)", lambda: gradients("square"))
    return scores


def _measured(
    method: Method, start: DDPM, emoji: Emoji, masks: np.ndarray, seed: int, credited: Property
) -> Iterator[dict[str, object]]:
    began = time.process_time()
    outcomes = coalition_models(method, start, emoji.train, masks, SETTINGS[method], [seed] * len(masks))
    rows = {
        part: credited.read(part.sample(IMAGES, seed=0, steps=STEPS))
        for part in {part for outcome in outcomes if isinstance(outcome.model, Mixture) for part in outcome.model.parts}
    }
    made = time.process_time() - began
    for mask, outcome in zip(masks, outcomes, strict=True):
        seconds = made * mask.all() if method in SHARING else made / len(masks)
        began = time.process_time()
        if outcome.model is None:
            raise RuntimeError(f"{method}, seed {seed}, coalition {_digits(mask)}: {outcome.failure}")
        if isinstance(outcome.model, Mixture):
            utility = credited.of_rows(outcome.model.pick([rows[part] for part in outcome.model.parts], seed=0))
        else:
            utility = credited.of(outcome.model.sample(IMAGES, seed=0, steps=STEPS))
        yield {"mask": _digits(mask), "utility": utility, "seconds": seconds + time.process_time() - began}


def _starts(folder: Path, images: ImageSet) -> tuple[DDPM, DDPM]:
    """The model of everybody's images, and its pruned copy; kept in the folder."""
    files = [folder / f"{name}.safetensors" for name in ("base", "pruned")]
    if not all(file.exists() for file in files):
        shown = images.shown()
        model = DDPM.for_images(shown, seed=0, resources=NOTHING_ELSE, **NET)
        settings = {"batch_size": 32, "learning_rate": 3e-3, "ema_decay": 0.995, "seed": 0}
        model.fit(shown.images, steps=BASE_STEPS, **settings)
        files[0].write_bytes(model.to_bytes())
        model.prune(RATIO, shown.images)
        model.fit(shown.images, steps=RECOVERY_STEPS, **settings)
        files[1].write_bytes(model.to_bytes())
    base, pruned = (DDPM.from_bytes(file.read_bytes()) for file in files)
    return base, pruned


def _digits(mask: np.ndarray) -> str:
    return "".join("1" if member else "0" for member in mask)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", nargs="?", choices=["train"], help=argparse.SUPPRESS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--only", choices=SETTINGS, help="train and measure by this method alone")
    chosen = parser.parse_args(arguments)
    train(chosen.folder, chosen.data, chosen.only)


if __name__ == "__main__":
    main()
