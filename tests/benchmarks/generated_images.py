"""How near the images of a run's models are to images that nobody trained on.

    python -m tests.benchmarks.generated_images openmoji --images 480 --sheet emoji.png

FID, KID, precision and recall are taken in the features of an encoder, with standard errors, of the base model and of
its pruned copy. The last row is the limit: as many of the run's own training images. `Asked` is the share of images
that the run's classifier reads as the label that they were generated for. The sheet has the first images of the base
model, without selection.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from royalty.infra.pages.pictures import sheet
from royalty.infra.settings import settings
from royalty.infra.stores.weights import WeightsStore
from royalty.infra.workspace import open_workspace
from royalty.models.data.stored import open_set
from royalty.models.generators.generator import Resources
from royalty.models.generators.registry import load_generator
from royalty.models.properties import fid, kid, manifold
from royalty.models.properties.classifier import Classifier
from royalty.models.properties.manifold import error_of_share
from royalty.models.properties.property import Context, Property
from royalty.tasks.credit.anchor import load_anchor

COLUMNS = 24
SHOWN = 10 * COLUMNS

PROPERTIES: dict[str, tuple[int, Callable[[Context, str], Property]]] = {
    "FID": (-1, fid.build),
    "KID": (-1, kid.build),
    "Precision": (1, manifold.precision),
    "Recall": (1, manifold.recall),
}
"""Properties with the sign by which they are printed: FID and KID are negative there, since higher is better."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="name of a run in ROYALTY_HOME")
    parser.add_argument("--images", type=int, default=480)
    parser.add_argument("--encoder", default="efficientnet-lite0")
    parser.add_argument("--steps", type=int, default=20, help="of the sampler")
    parser.add_argument("--scheduler", default="dpm-solver++")
    parser.add_argument("--sheet", type=Path)
    options = parser.parse_args()
    artifacts = open_workspace(settings()).artifacts
    game = load_anchor(options.run).game
    made = game.data.outputs
    train, held_out, judged = (
        open_set(artifacts.verified(part)) for part in (made.train, made.classifier, made.validation)
    )
    reference = np.concatenate([held_out.images, judged.images])
    classifier = Classifier.from_bytes(artifacts.get(game.judge.outputs.classifier))
    context = Context(reference, classifier.probabilities, weights=WeightsStore(settings().weights_root).locate)
    properties = {name: build(context, options.encoder) for name, (_, build) in PROPERTIES.items()}
    print(f"{len(reference)} held-out images, {options.images} of each model, features of {options.encoder}")
    print(f"classifier on validation images: {classifier.accuracy(judged.images, judged.labels):.3f}")
    print("| Images | FID | KID | Precision | Recall | Asked | Seconds an image |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, digest in (("base model", game.base.outputs.model), ("pruned model", game.pruned.outputs.model)):
        model = load_generator(artifacts.get(digest), Resources())
        began = time.process_time()
        images = model.sample(options.images, seed=1, steps=options.steps, scheduler=options.scheduler)
        seconds = (time.process_time() - began) / len(images)
        asked = model.asked(train.label_names)
        print_row(name, images, properties, classifier, np.arange(len(images)) % len(asked) if asked else None, seconds)
        if name == "base model" and options.sheet:
            options.sheet.write_bytes(sheet(images[:SHOWN], COLUMNS))
    chosen = np.random.default_rng(0).choice(len(train), min(options.images, len(train)), replace=False)
    print_row("training images", train.images[np.sort(chosen)], properties, classifier, train.labels[np.sort(chosen)])


def print_row(
    name: str,
    images: np.ndarray,
    properties: dict[str, Property],
    classifier: Classifier,
    labels: np.ndarray | None,
    seconds: float | None = None,
) -> None:
    cells = []
    for title, built in properties.items():
        value, error = built.measure(images, error=True)
        cells.append(f"{PROPERTIES[title][0] * value:.3g} ± {error:.2g}")
    if labels is None:
        cells.append("")
    else:
        right = classifier.probabilities(images).argmax(1) == labels
        cells.append(f"{right.mean():.3f} ± {error_of_share(right):.2g}")
    print(f"| {name} | {' | '.join(cells)} | {'' if seconds is None else f'{seconds:.3f}'} |", flush=True)


if __name__ == "__main__":
    main()
