"""What the sampler, its steps and the number of images do to the utility v(S) of coalitions.

python -m tests.benchmarks.sampling_variance [--coalitions 12] [--images 1024] [--reference-images 2048]
"""

from __future__ import annotations

import argparse
import copy
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler

from royalty.models.data.digits import digits
from royalty.models.data.items import ImageSet
from royalty.models.generators.ddpm import DDPM, Architecture
from royalty.models.generators.pruning import prune
from royalty.models.generators.retraining import coalition_models
from royalty.models.generators.training import Training
from royalty.models.properties.classifier import Classifier
from royalty.models.properties.inception_score import inception_score
from royalty.models.valuation.coalitions import sample_coalitions
from royalty.tasks.config.credit import CreditConfig

CANDIDATES = {
    "DDIM": (5, 10, 20),
    "DPM-Solver++ 2M": (5, 8),
    "UniPC": (3, 4, 5, 6),
}
REFERENCE_STEPS = 50
IMAGES = (256, 512, 1024)
RESAMPLINGS = 400
BATCH = 256
CONFIG = CreditConfig()

TITLE = """\
Inception Score of {coalitions} coalitions of 12, finetuned from the pruned model: mean {mean:.3f}, spread (standard
deviation) {spread:.3f}. All numbers but correlation and seconds are shares of that spread; one thread.

r: Pearson correlation over coalitions with the reference, DDIM of {steps} steps on {reference} images.
distortion: standard deviation over coalitions of the difference to the reference from the same initial noise.
noise: standard deviation over draws of initial noise, without what a draw does to all coalitions alike.
signal: spread over noise.
seconds: of processor time to sample and measure one coalition, least of {coalitions} interleaved rounds.
sampling: seconds x (noise^2 + distortion^2), ratio to DDIM of 10 steps and 512 images: sampling alone is paid for.
together: (seconds + training) x (training noise^2 + noise^2), the same ratio: what credit of a given precision costs
  when more coalitions average both noises out. Finetuning takes {training:.2f} s a coalition, and its seed makes
  noise of {luck:.3f}.
"""


@dataclass(frozen=True)
class Sampled:
    """Class probabilities `(coalitions, images, classes)`, and the least seconds that one coalition took."""

    probabilities: np.ndarray
    seconds: float

    @property
    def utilities(self) -> np.ndarray:
        return np.array([inception_score(rows) for rows in self.probabilities])


def solver(name: str, model: DDPM) -> Any:
    if name == "DDIM":
        return copy.deepcopy(model.scheduler)
    kind = DPMSolverMultistepScheduler if name.startswith("DPM") else UniPCMultistepScheduler
    return kind.from_config(model.scheduler.config)


@torch.inference_mode()
def sample(model: DDPM, name: str, steps: int, n: int) -> np.ndarray:
    """`DDPM.sample` by another solver, from the same initial noise."""
    shape = (model.architecture.channels, model.architecture.image_size, model.architecture.image_size)
    images = []
    for index, start in enumerate(range(0, n, BATCH)):
        scheduler = solver(name, model)  # a multistep solver remembers the batch before
        scheduler.set_timesteps(steps)
        latent = torch.randn((min(BATCH, n - start), *shape), generator=torch.Generator().manual_seed(index))
        for moment in scheduler.timesteps:
            latent = scheduler.step(model.unet(latent, moment).sample, moment, latent).prev_sample
        images.append(((latent.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).numpy())
    return np.concatenate(images)


def sampled(
    models: list[DDPM], classifier: Classifier, candidates: list[tuple[str, int]], n: int
) -> dict[tuple[str, int], Sampled]:
    """Every candidate in turn for one model after the other."""
    rows: dict[tuple[str, int], list[np.ndarray]] = {candidate: [] for candidate in candidates}
    seconds: dict[tuple[str, int], list[float]] = {candidate: [] for candidate in candidates}
    for model in models:
        for candidate in candidates:
            started = time.process_time()
            rows[candidate].append(classifier.probabilities(sample(model, *candidate, n)))
            inception_score(rows[candidate][-1])
            seconds[candidate].append(time.process_time() - started)
    return {candidate: Sampled(np.array(rows[candidate]), min(seconds[candidate])) for candidate in candidates}


def noise(probabilities: np.ndarray, n: int) -> float:
    """Standard deviation over draws of n images, without what a draw does to all coalitions alike.

    A draw is resampled from the images at hand, the same positions for every coalition: they share their
    initial noise.
    """
    generator = np.random.default_rng(0)
    chosen = generator.integers(probabilities.shape[1], size=(RESAMPLINGS, n))
    utilities = np.array([[inception_score(rows[draw]) for rows in probabilities] for draw in chosen])
    utilities -= utilities.mean(axis=0)
    utilities -= utilities.mean(axis=1, keepdims=True)
    coalitions = len(probabilities)
    return float(utilities.std(ddof=1) * np.sqrt(coalitions / (coalitions - 1)))


def prepare() -> tuple[ImageSet, Classifier, DDPM]:
    """Training images, the classifier and the pruned model, with the settings that are the defaults."""
    data, generator = CONFIG.data.model_dump(exclude={"source", "held_out"}), CONFIG.generator
    splits = digits(**data, **CONFIG.data.held_out.model_dump(), seed=CONFIG.seed)
    classifier = Classifier(1, 10, seed=0)
    classifier.fit(splits.classifier.images, splits.classifier.labels, steps=CONFIG.classifier.steps, seed=0)
    model = DDPM.build(Architecture(8, 1, generator.block_channels, generator.layers_per_block), seed=0)
    training = generator.model_dump(exclude={"block_channels", "layers_per_block"})
    model.fit(splits.train.images, **training, seed=0)
    prune(model.unet, CONFIG.pruning.ratio)
    model.fit(splits.train.images, **training | {"steps": CONFIG.pruning.recovery_steps}, seed=0)
    return splits.train, classifier, model


def finetuned(start: DDPM, data: ImageSet, masks: np.ndarray, training: Training, seed: int) -> list[DDPM]:
    outcomes = coalition_models("sparsified", start, data, masks, training, [seed] * len(masks))
    return [outcome.model for outcome in outcomes if outcome.model is not None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coalitions", type=int, default=12)
    parser.add_argument("--images", type=int, default=1024, help="of each coalition by each candidate")
    parser.add_argument("--reference-images", type=int, default=2048)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    data, classifier, start = prepare()
    masks = sample_coalitions(len(data.contributors), CONFIG.coalitions.count, seed=0)
    masks = np.random.default_rng(0).permutation(masks)[: chosen.coalitions]
    training = CONFIG.coalitions.training("sparsified", CONFIG.generator)
    began = time.process_time()
    models = finetuned(start, data, masks, training, 0)
    training_seconds = (time.process_time() - began) / len(masks)
    usual = ("DDIM", 10)
    every = [(name, steps) for name, counts in CANDIDATES.items() for steps in counts]
    found = sampled(models, classifier, every, chosen.images)
    again = sampled(finetuned(start, data, masks, training, 1), classifier, [usual], chosen.images)[usual]
    exact = sampled(models, classifier, [("DDIM", REFERENCE_STEPS)], chosen.reference_images)["DDIM", REFERENCE_STEPS]
    spread = exact.utilities.std(ddof=1)
    same = np.array([inception_score(rows[: chosen.images]) for rows in exact.probabilities])
    # Two trainings from one initial noise differ by their luck, twice.
    luck = (again.utilities - found[usual].utilities).std(ddof=1) / np.sqrt(2) / spread

    rows = []
    for (name, steps), one in found.items():
        distortion = (one.utilities - same).std(ddof=1) / spread
        for n in IMAGES:
            error = noise(one.probabilities, n) / spread
            r = np.corrcoef([inception_score(part[:n]) for part in one.probabilities], exact.utilities)[0, 1]
            taken = one.seconds * n / chosen.images
            alone = taken * (error**2 + distortion**2)
            rows.append(
                (name, steps, n, r, distortion, error, taken, alone, (taken + training_seconds) * (luck**2 + error**2))
            )
    base = next(row for row in rows if row[:3] == (*usual, 512))
    print(
        TITLE.format(
            coalitions=len(models),
            mean=exact.utilities.mean(),
            spread=spread,
            steps=REFERENCE_STEPS,
            reference=chosen.reference_images,
            training=training_seconds,
            luck=luck,
        )
    )
    print(
        f"{'solver':<18}{'steps':>6}{'images':>8}{'r':>8}{'distortion':>12}{'noise':>8}{'signal':>8}{'seconds':>9}{'sampling':>10}{'together':>10}"
    )
    for name, steps, n, r, distortion, error, taken, alone, whole in rows:
        print(
            f"{name:<18}{steps:>6}{n:>8}{r:>8.3f}{distortion:>12.3f}{error:>8.3f}{1 / error:>8.1f}{taken:>9.3f}"
            f"{alone / base[7]:>10.2f}{whole / base[8]:>10.2f}"
        )
    for column, meaning in (
        (7, "error in v(S) per second of sampling"),
        (8, "credit of a given precision, with training"),
    ):
        name, steps, n = min(rows, key=lambda row: row[column])[:3]
        print(f"least for {meaning}: {name}, {steps} steps, {n} images")


if __name__ == "__main__":
    main()
