"""Seconds that one coalition costs by each method, and what a second worker gains.

python -m tests.benchmarks.coalition_speed [--quick] [--rounds 3]
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

from royalty.infra.processes.progress import Advance
from royalty.infra.processes.workers import preload, run_in_process
from royalty.models.data.digits import digits
from royalty.models.data.items import Shown
from royalty.models.generators.ddpm import DDPM, Architecture
from royalty.models.generators.pruning import prune, size_of
from royalty.models.generators.stacked import LANES, fit_stacked
from royalty.models.generators.training import Method, Training
from royalty.models.properties.classifier import Classifier
from royalty.models.properties.inception_score import inception_score
from royalty.tasks.config.credit import CreditConfig
from royalty.tasks.config.sources import DigitsSource

CONFIG = CreditConfig()
TARGET, WORKERS_TARGET = 15.0, 1.7
STACKS = 8
"""What the workers share: as many trainings as are in a small run, so that their start is the share it is there."""
MEASURED = {"retrain": 12, "finetune": 35, "sparsified": 70}
FLOPS = 6
"""Floating point operations of a training step a multiply-add of a forward pass: two forward, twice that back."""

TITLE = """\
Seconds a coalition on one thread: training, then {images} images of {steps} steps, then their Inception Score. Seconds
are of processor time, which is blind to other programs; least of {rounds} interleaved rounds. A training longer than
the steps measured is extrapolated from them in proportion. Nets have random weights, which take as long as trained
ones; pruning took {ratio:.0%} of each layer's channels.

retrain: {retrain.steps} steps of {retrain.batch_size}, the whole net. finetune: {finetune.steps} steps of \
{finetune.batch_size}, the whole net. sparsified: the same, the pruned net.
stacked: {lanes} models side by side. of retrain, of stacked: ratio to retraining alone, and stacked.
peak: share while training of {peak:.0f} GFLOP/s, what this core reaches multiplying float32 matrices of order 1,024.
"""


@dataclass
class Row:
    """One way to come by a coalition's model, and the least processor seconds it took so far."""

    method: Method
    stacked: int
    model: DDPM
    training: Training
    measured: int
    train: float = np.inf
    sample: float = np.inf
    measure: float = np.inf

    @property
    def total(self) -> float:
        return self.train + self.sample + self.measure

    @property
    def flops(self) -> float:
        """Floating point operations of a training step of one model."""
        return FLOPS * size_of(self.model.unet).multiply_adds * self.training.batch_size

    def once(self, images: np.ndarray, classifier: Classifier) -> None:
        took = seconds(partial(train, self.model, images, replace(self.training, steps=self.measured), self.stacked))
        self.train = min(self.train, took / max(self.stacked, 1) * self.training.steps / self.measured)
        made = self.model.sample(CONFIG.sampling.images, seed=0, steps=CONFIG.sampling.steps)
        self.sample = min(self.sample, seconds(partial(sample, self.model)))
        self.measure = min(self.measure, seconds(lambda: inception_score(classifier.probabilities(made))))


def train(model: DDPM, images: np.ndarray, training: Training, stacked: int) -> list[DDPM]:
    """Copies of the model, trained: one by `DDPM.fit`, or as many as are stacked."""
    models = [copy.deepcopy(model) for _ in range(max(stacked, 1))]
    settings = {
        "steps": training.steps,
        "batch_size": training.batch_size,
        "learning_rate": training.learning_rate,
        "ema_decay": training.ema_decay,
    }
    if stacked:
        fit_stacked(models, [Shown(images)] * stacked, **settings, seeds=range(stacked))  # type: ignore[arg-type]
    else:
        models[0].fit(images, **settings, seed=0)  # type: ignore[arg-type]
    return models


def sample(model: DDPM) -> np.ndarray:
    return model.sample(CONFIG.sampling.images, seed=0, steps=CONFIG.sampling.steps)


def work(model: bytes, images: np.ndarray, training: Training, stacks: int, _advance: Advance) -> float:
    """What a worker does: coalitions trained side by side, sampled and measured; its processor time."""
    torch.set_num_threads(1)
    start, classifier = DDPM.from_bytes(model), Classifier(1, 10, seed=0)
    for _ in range(stacks):
        for one in train(start, images, training, LANES):
            inception_score(classifier.probabilities(sample(one)))
    return time.process_time()


def seconds(task: Callable[[], object], clock: Callable[[], float] = time.process_time) -> float:
    started = clock()
    task()
    return clock() - started


def peak_flops() -> float:
    """Floating point operations a second of this core, in its best known use."""
    factor = torch.randn(1024, 1024)
    return 2 * 1024**3 / min(seconds(lambda: factor @ factor) for _ in range(20))


def by_workers(model: DDPM, images: np.ndarray, training: Training, rounds: int) -> dict[int, tuple[float, float]]:
    """Least seconds of one worker and of two for the same stacks: on the clock, and of the busiest's processor."""
    function, payload = f"{work.__module__}.work", model.to_bytes()
    preload(work.__module__)

    def run(workers: int) -> float:
        with ThreadPoolExecutor(workers) as pool:
            jobs = [
                pool.submit(
                    run_in_process, function, payload, images, training, STACKS // workers, advance=lambda _: None
                )
                for _ in range(workers)
            ]
            return max(float(job.result()) for job in jobs)

    run_in_process(function, payload, images, replace(training, steps=1), 1, advance=lambda _: None)
    taken = {1: (np.inf, np.inf), 2: (np.inf, np.inf)}
    for _ in range(rounds):
        for workers, (clock, processor) in taken.items():
            started = time.perf_counter()
            busiest = run(workers)
            taken[workers] = min(clock, time.perf_counter() - started), min(processor, busiest)
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a third of the steps, in one round")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    rounds = 1 if chosen.quick else chosen.rounds
    torch.set_num_threads(1)
    source = DigitsSource().model_dump(exclude={"source", "held_out"})
    data = digits(**source, **CONFIG.data.held_out.model_dump(), seed=0).train
    images = data.images[data.of_coalition(np.arange(len(data.contributors)) % 2 == 0)]
    generator = CONFIG.generator
    whole = DDPM.build(Architecture(8, 1, generator.block_channels, generator.layers_per_block), seed=0)
    pruned = copy.deepcopy(whole)
    prune(pruned.unet, CONFIG.pruning.ratio)

    classifier, rows = Classifier(1, 10, seed=0), []
    nets: dict[Method, DDPM] = {"retrain": whole, "finetune": whole, "sparsified": pruned}
    for method, net in nets.items():
        training = CONFIG.coalitions.training(method, generator)
        measured = min(training.steps, MEASURED[method] // (3 if chosen.quick else 1))
        rows += [Row(method, stacked, net, training, measured) for stacked in (0, LANES)]
    peak = 0.0
    for _ in range(rounds):
        peak = max(peak, peak_flops())
        for row in rows:
            row.once(images, classifier)

    trainings = {row.method: row.training for row in rows}
    print(
        TITLE.format(
            images=CONFIG.sampling.images,
            steps=CONFIG.sampling.steps,
            rounds=rounds,
            ratio=CONFIG.pruning.ratio,
            lanes=LANES,
            peak=peak / 1e9,
            **trainings,
        )
    )
    alone, together = rows[0], rows[1]
    print(
        f"{'':<22}{'measured':>9}{'training':>10}{'sampling':>10}{'measuring':>11}{'together':>10}"
        f"{'of retrain':>12}{'of stacked':>12}{'MFLOP a step':>14}{'peak':>7}"
    )
    for row in rows:
        share = row.flops * row.training.steps / row.train / peak
        name = f"{row.method}, {'stacked' if row.stacked else 'alone'}"
        print(
            f"{name:<22}{row.measured:>9}{row.train:>10.3f}{row.sample:>10.3f}{row.measure:>11.3f}{row.total:>10.3f}"
            f"{f'1/{alone.total / row.total:.1f}':>12}{f'1/{together.total / row.total:.1f}':>12}"
            f"{row.flops / 1e6:>14,.0f}{share:>7.1%}"
        )
    fastest = min(row.total for row in rows if row.method == "sparsified")
    reference = min(alone.total, together.total)
    print(
        f"sparsified against the faster way to retrain: {reference / fastest:.1f} times as fast, of {TARGET:g} wanted: "
        f"{reference / fastest / TARGET:.2f} of the target"
    )
    steps = trainings["sparsified"].steps // (3 if chosen.quick else 1)
    taken = by_workers(pruned, images, replace(trainings["sparsified"], steps=steps), rounds)
    (clock, processor), (clock_of_two, processor_of_two) = taken.values()
    print(
        f"two workers of one thread against one, {STACKS * LANES} coalitions of {steps} steps, "
        f"of {WORKERS_TARGET:g} wanted:\n"
        f"  on the clock, start of processes included: {clock:.1f} s and {clock_of_two:.1f} s, "
        f"{clock / clock_of_two:.2f} times as fast\n"
        f"  processor time of the busiest, what a clock shows if no other program runs: {processor:.1f} s and "
        f"{processor_of_two:.1f} s, {processor / processor_of_two:.2f} times as fast"
    )


if __name__ == "__main__":
    main()
