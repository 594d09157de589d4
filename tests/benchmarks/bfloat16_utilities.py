"""Whether utilities of coalitions are the same in bfloat16 as in float32, on two real data sets.

    python -m tests.benchmarks.bfloat16_utilities [--presets digits letters] [--seeds 3] [--coalitions 12]

For each seed, base model, pruned model and models of the same random coalitions are trained and sampled in both
precisions, from the same seeds; classifier and images are shared. Only weights, sums and losses are float32 in both, as
on a GPU. On a CPU without instructions for bfloat16 both are float32, and the comparison is refused.

Decided before the run: utilities agree if the mean difference is within twice its standard error, which is that of the
means of seeds, and if a difference of one coalition is no larger than the seed alone makes it: the root mean square of
paired differences is at most the square root of two times the standard error of a utility.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from royalty.flows.configuration import load_config
from royalty.models.data.credited import read_images
from royalty.models.data.items import Shown, Splits
from royalty.models.generators.acceleration import in_bfloat16
from royalty.models.generators.ddpm import DDPM
from royalty.models.generators.generator import NOTHING_ELSE
from royalty.models.generators.registry import build_generator
from royalty.models.generators.retraining import coalition_models
from royalty.models.properties.classifier import Classifier
from royalty.models.properties.inception_score import inception_score
from royalty.tasks.config.credit import CreditConfig
from royalty.tasks.config.sources import DigitsSource
from royalty.tasks.credit.ingest import embedded_splits, list_source


def splits_of(config: CreditConfig) -> Splits:
    """The images of a preset, read anew."""
    source = config.data
    if isinstance(source, DigitsSource):
        return embedded_splits(source, config.seed)
    listing = list_source(source, config.seed, labels=True, texts=False).listing  # type: ignore[arg-type]
    return read_images(listing, size=source.size, **source.held_out.model_dump(), seed=config.seed).in_memory()


def utilities(
    config: CreditConfig, splits: Splits, classifier: Classifier, masks: np.ndarray, seed: int, mixed: bool
) -> np.ndarray:
    """Utilities of coalitions, `(coalitions,)`, of one chain of trainings in one precision."""
    data, generator = splits.train, config.generator
    shown = Shown(data.images, data.labels)
    settings = generator.architecture() | {"mixed_precision": mixed}
    model = build_generator(generator.kind, shown, settings, seed=seed, resources=NOTHING_ELSE)
    model.fit(data.images, labels=data.labels, **generator.training(), seed=seed)
    model.prune(config.pruning.ratio, data.images, labels=data.labels, seed=seed)
    recovery = generator.training() | {"steps": config.pruning.recovery_steps}
    model.fit(data.images, labels=data.labels, **recovery, seed=seed)
    training = config.coalitions.training("sparsified", generator)
    outcomes = coalition_models("sparsified", model, data, masks, training, [seed] * len(masks))
    found = []
    for outcome in outcomes:
        assert isinstance(outcome.model, DDPM), outcome.failure
        sampling = config.sampling
        images = outcome.model.sample(
            sampling.images, seed=config.seed, steps=sampling.steps, scheduler=sampling.scheduler
        )
        found.append(inception_score(classifier.probabilities(images)))
    return np.array(found)


def compared(single: np.ndarray, half: np.ndarray) -> dict[str, float]:
    """The comparison of utilities in float32 with those in bfloat16, both `(seeds, coalitions)`.

    Returns:
        `spread` of utilities over coalitions; `stderr` of a utility in float32, over seeds; the `mean` paired
        difference with its `mean_stderr` over seeds; and the root mean square `difference` of a coalition.
    """
    apart = half - single  # (seeds, coalitions)
    return {
        "spread": float(single.mean(axis=0).std(ddof=1)),
        "stderr": float(np.sqrt(single.var(axis=0, ddof=1).mean())),
        "mean": float(apart.mean()),
        "mean_stderr": float(apart.mean(axis=1).std(ddof=1) / np.sqrt(len(apart))),
        "difference": float(np.sqrt(np.square(apart).mean())),
    }


def agree(found: dict[str, float]) -> bool:
    """The rule that was decided before."""
    return abs(found["mean"]) <= 2 * found["mean_stderr"] and found["difference"] <= np.sqrt(2) * found["stderr"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="+", default=["digits", "letters"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--coalitions", type=int, default=12)
    given = parser.parse_args()
    with in_bfloat16(torch.device("cpu"), True):
        if not torch.is_autocast_enabled("cpu"):
            raise SystemExit("this processor has no instructions for bfloat16 (AVX512-BF16 or AMX); take another")
    print("| Images | Coalitions, seeds | Spread | Standard error | Mean difference | Difference | Agree |")
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    for preset in given.presets:
        config = load_config(file=None, preset=preset, name=None)
        splits = splits_of(config)
        channels, judged = splits.train.images.shape[1], splits.classifier
        classifier = Classifier(channels, len(judged.label_names), seed=0)
        classifier.fit(judged.images, judged.labels, steps=config.classifier.steps, seed=0)
        players = len(splits.train.contributors)
        masks = np.random.default_rng(0).random((given.coalitions, players)) < 0.5
        rows: tuple[list[np.ndarray], list[np.ndarray]] = [], []
        for seed in range(given.seeds):
            for mixed, row in zip((False, True), rows, strict=True):
                row.append(utilities(config, splits, classifier, masks, seed, mixed))
                print(
                    f"{preset} seed {seed} {'bfloat16' if mixed else 'float32'} {row[-1].round(3).tolist()}", flush=True
                )
        found = compared(*(np.array(row) for row in rows))
        print(
            f"| {preset} | {given.coalitions}, {given.seeds} | {found['spread']:.3f} | {found['stderr']:.3f} | "
            f"{found['mean']:+.3f} ± {found['mean_stderr']:.3f} | {found['difference']:.3f} | "
            f"{'yes' if agree(found) else 'no'} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
