"""All that is to be known of the speed on a GPU, within ten minutes, and whether a GPU gives what a CPU does.

    python -m tests.benchmarks.gpu_speed [--minutes 10] [--quick]
    python -m tests.benchmarks.gpu_speed --device cpu --small

In turn: the CIFAR-20 network by precision with its floors by operations and bytes; steps, images, a coalition and hours
of the presets for a GPU; LoRA steps; SAVA, pair after pair and several at once; a search by faiss; what compiling costs
and saves; LAVA, SAVA and coalitions of digits beside the CPU; and a batch that memory does not hold. What has not begun
when the minutes are over is left out, and named at the end. `python -m tests.benchmarks.gpu_check` runs this and the
preset `openmoji`.

The second command, or a machine without a GPU, compares the CPU with itself, which only tries the program. Needs
neither Prefect nor MLflow.
"""

from __future__ import annotations

import argparse
import copy
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from scipy.stats import spearmanr

from royalty.models.data.items import Shown
from royalty.models.generators.ddpm import DDPM, Architecture
from royalty.models.generators.pruning import prune
from royalty.models.generators.stacked import LANES, fit_stacked
from royalty.models.valuation.items import ItemValues
from royalty.models.valuation.lava import lava_values
from royalty.models.valuation.sava import sava_values
from royalty.tasks.config.credit import CreditConfig
from royalty.tasks.stages.device import best_device
from tests.benchmarks import gpu_targets
from tests.benchmarks.lava_speed import EPSILON, FLIPPED, TOLERANCE, blobs
from tests.benchmarks.network_floor import networks

CONFIG = CreditConfig()
T = TypeVar("T")


def timed(work: Callable[[], T]) -> tuple[T, float, float]:
    """What it returns, its seconds, and gigabytes of GPU memory at most."""
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    made = work()
    if cuda:
        torch.cuda.synchronize()
    return made, time.perf_counter() - began, torch.cuda.max_memory_allocated() / 1e9 if cuda else 0.0


def transport(device: str, items: int, large: tuple[int, int], many: int) -> None:
    """LAVA and SAVA on both, then LAVA of a size at which a CPU takes minutes, on the GPU alone."""

    def sets(train: int, val: int, dimensions: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        features, labels, _ = blobs(train, dimensions, seed=0, flipped=FLIPPED)
        return features, labels, *blobs(val, dimensions, seed=1)[:2]

    ways: dict[str, tuple[Callable[..., ItemValues], tuple[np.ndarray, ...]]] = {
        f"lava {items:,} x {items // 5:,} x 512": (lava_values, sets(items, items // 5, 512)),
        f"sava {many:,} x {items:,} x 128": (sava_values, sets(many, items, 128)),
    }
    print(f"{'':34} {'CPU s':>8} {device + ' s':>8} {'GB':>6} {'difference/range':>17} {'Spearman':>12}")
    for name, (way, given) in ways.items():
        run = partial(way, *given, epsilon=EPSILON, tolerance=TOLERANCE)
        small = [part[:1000] for part in given]
        way(*small, epsilon=EPSILON, tolerance=TOLERANCE, device=torch.device(device))  # the first pass loads kernels
        by_cpu, cpu, _ = timed(run)
        by_gpu, gpu, memory = timed(partial(run, device=torch.device(device)))
        apart = np.abs(by_cpu.values - by_gpu.values).max() / np.ptp(by_cpu.values)
        rank = spearmanr(by_cpu.values, by_gpu.values).statistic
        print(f"{name:34} {cpu:8.2f} {gpu:8.2f} {memory:6.2f} {apart:17.1e} {rank:12.9f}", flush=True)
    run = partial(lava_values, *sets(*large, 512), epsilon=EPSILON, tolerance=TOLERANCE, device=torch.device(device))
    found, gpu, memory = timed(run)
    name = f"lava {large[0]:,} x {large[1]:,} x 512"
    error = found.diagnostics["marginal_error"]
    print(f"{name:34} {'':8} {gpu:8.2f} {memory:6.2f}    marginal error {error:.1e}", flush=True)


def coalitions(device: str, steps: int) -> None:
    """Coalitions of the digits, as the main job trains and samples them: alone and stacked, on both."""
    generator = CONFIG.generator
    images = np.random.default_rng(0).integers(0, 256, (500, 1, 8, 8), dtype=np.uint8)
    start = DDPM.build(Architecture(8, 1, generator.block_channels, generator.layers_per_block), seed=0)
    prune(start.unet, CONFIG.pruning.ratio)
    training = replace(CONFIG.coalitions.training("sparsified", generator), steps=steps)
    settings = {
        "steps": training.steps,
        "batch_size": training.batch_size,
        "learning_rate": training.learning_rate,
        "ema_decay": training.ema_decay,
    }

    def alone(where: str) -> tuple[DDPM, list[float]]:
        model = copy.deepcopy(start).to(where)
        return model, model.fit(images, **settings, seed=0)  # type: ignore[arg-type]

    def stacked(where: str) -> None:
        models = [copy.deepcopy(start).to(where) for _ in range(LANES)]
        fit_stacked(models, [Shown(images)] * LANES, **settings, seeds=range(LANES))  # type: ignore[arg-type]

    print(
        f"\n{'coalition of digits, ' + str(steps) + ' steps':34} {'CPU ms':>8} {device + ' ms':>8}   a step of a model"
    )
    ways: tuple[tuple[str, Callable[[str], object], int], ...]
    ways = ("alone", alone, 1), (f"{LANES} stacked", stacked, LANES)
    for name, way, models in ways:
        way(device)
        _, cpu, _ = timed(partial(way, "cpu"))
        _, gpu, _ = timed(partial(way, device))
        each = 1000 / steps / models
        print(f"{name:34} {cpu * each:8.2f} {gpu * each:8.2f}", flush=True)
    (by_cpu, losses), (by_gpu, others) = alone("cpu"), alone(device)
    made = by_cpu.sample(64, seed=0, steps=CONFIG.sampling.steps)
    other = by_gpu.sample(64, seed=0, steps=CONFIG.sampling.steps)
    level = np.abs(made.astype(int) - other.astype(int))
    loss = np.abs(np.subtract(losses, others)).max() / np.mean(losses)
    print(f"losses differ by {loss:.1e} of their mean, pixels by {level.mean():.3f} levels of 256", flush=True)


def beyond_memory(side: int, batch_size: int, gigabytes: float) -> None:
    """The same training in all memory and in a small part of it."""
    architecture = Architecture(side, 3, (64, 128), 1)
    images = np.random.default_rng(0).integers(0, 256, (batch_size, 3, side, side), dtype=np.uint8)
    start = DDPM.build(architecture, seed=0).to("cuda")

    def losses() -> list[float]:
        settings = {"steps": 4, "batch_size": batch_size, "learning_rate": 1e-4, "ema_decay": 0.9}
        return copy.deepcopy(start).fit(images, **settings, seed=0)  # type: ignore[arg-type]

    whole, seconds, memory = timed(losses)
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(gigabytes * 1e9 / torch.cuda.get_device_properties(0).total_memory)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        parts, slower, less = timed(losses)
    torch.cuda.set_per_process_memory_fraction(1.0)
    apart = np.abs(np.subtract(whole, parts)).max() / np.mean(whole)
    print(f"\na batch of {batch_size} images of {side} pixels takes {memory:.1f} GB, {seconds:.1f} s for 4 steps")
    print(f"within {gigabytes:g} GB: {less:.1f} GB, {slower:.1f} s, losses differ by {apart:.1e} of their mean; said:")
    print("\n".join(str(warning.message) for warning in said) or "nothing", flush=True)


def in_turn(parts: Sequence[tuple[str, Callable[[], object]]], seconds: float) -> list[str]:
    """Run parts until the seconds are over; returns the names of those that did not begin, or failed."""
    began, left_out = time.monotonic(), []
    for name, work in parts:
        if time.monotonic() - began >= seconds:
            left_out.append(name)
            continue
        try:
            work()
        except Exception:  # noqa: BLE001 - one part that fails does not cost the measurements of the others
            traceback.print_exc()
            left_out.append(f"{name} (failed)")
    return left_out


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the items and steps")
    parser.add_argument("--small", action="store_true", help="a tiny network and a fiftieth of the items and steps")
    parser.add_argument("--minutes", type=float, default=10, help="after which nothing more begins")
    parser.add_argument("--device", default=best_device(), choices=["cpu", "cuda"])
    asked = parser.parse_args(argv)
    part = 50 if asked.small else 10 if asked.quick else 1
    device = asked.device
    print(torch.cuda.get_device_name() if device == "cuda" else "no GPU", "torch", torch.__version__)
    print(f"CPU with {torch.get_num_threads()} threads", flush=True)
    sizes = gpu_targets.SMALL if asked.small else gpu_targets.FULL
    parts: list[tuple[str, Callable[[], object]]] = [
        ("network", partial(networks, device, asked.small)),
        *((name, partial(gpu_targets.preset, name, sizes, asked.small)) for name in sizes.presets),
        ("loras", partial(gpu_targets.loras, sizes)),
        ("sava", partial(gpu_targets.pairs_together, device, sizes)),
        ("faiss", partial(gpu_targets.searched, device, sizes)),
        ("compiled", partial(gpu_targets.compiled, device, asked.small)),
        ("digits", partial(coalitions, device, 300 // part)),
        ("transport", partial(transport, device, 10_000 // part, (50_000 // part, 10_000 // part), 100_000 // part)),
    ]
    if device == "cuda":
        parts.append(("memory", partial(beyond_memory, 64, 512, 4.0)))
    began = time.monotonic()
    left_out = in_turn(parts, 60 * asked.minutes)
    print(f"\nleft out: {', '.join(left_out) or 'nothing'}; {time.monotonic() - began:.0f} s in all")


if __name__ == "__main__":
    main()
