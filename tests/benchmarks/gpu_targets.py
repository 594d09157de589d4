"""What a GPU should take for presets, LoRAs, SAVA and searches: part of `python -m tests.benchmarks.gpu_speed`.

Each part prints what it took beside what it took before and beside the target, both of one H100.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import faiss
import numpy as np
import torch

from royalty.models.generators.ddpm import DDPM
from royalty.models.valuation import exact, stacked_transport
from royalty.models.valuation.sava import sava_values
from tests.benchmarks.lava_speed import EPSILON, FLIPPED, TOLERANCE, blobs
from tests.benchmarks.lora_speed import speeds
from tests.benchmarks.network_floor import network
from tests.benchmarks.preset_speed import judge

CIFAR20_STEP, CIFAR20_COALITION, CIFAR20_HOURS = 0.008, 40.0, 6.0
LORA_RATIO, SAVA_SECONDS, PRESET_RATIO = 3.0, 5.0, 3.0
BEFORE = {"celeba-hq": (0.487, 0.258, 0.239, 0.135, 270.0), "artbench": (0.215, 0.191, 0.700, 0.658, 72.0)}
"""Seconds of one H100 before: a step and a pruned step, an image and a pruned one, and a coalition."""


@dataclass(frozen=True)
class Sizes:
    """How much is measured, by whether a real GPU measures or a test tries the program."""

    steps: int
    presets: tuple[str, ...]
    lora: tuple[str, int, int, int]
    sava: tuple[int, int]
    search: tuple[int, int, int]


FULL = Sizes(
    12, ("cifar20", "celeba-hq", "artbench"), ("stable-diffusion", 10, 1, 16), (100_000, 10_000), (10**6, 512, 10**4)
)
SMALL = Sizes(4, ("cifar20",), ("tiny", 1, 1, 4), (600, 300), (2000, 16, 50))


def verdict(name: str, value: float, target: float, unit: str, least: bool = False) -> None:
    met = value >= target if least else value <= target
    bound = "at least" if least else "at most"
    print(f"{name}: {value:.3g} {unit}, target {bound} {target:g}: {'met' if met else 'MISSED'}", flush=True)


def preset(name: str, sizes: Sizes, small: bool) -> None:
    """A preset's steps, images, coalition and hours, in the precision that it sets."""
    print(f"\n{'preset':10} {'net':7} {'M params':>8} {'ms a step':>9} {'ms/image':>9} {'GB':>7}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        taken = judge(name, sizes.steps, Path(folder), small)
    if name == "cifar20":
        verdict("cifar20, a step", taken.each["whole"][0] * 1000, CIFAR20_STEP * 1000, "ms")
        verdict("cifar20, a coalition", taken.coalition, CIFAR20_COALITION, "s")
        verdict("cifar20, a run", taken.run / 3600, CIFAR20_HOURS, "h")
    else:
        steps, images = zip(taken.each["whole"], taken.each["pruned"], strict=True)
        now = (*steps, *images, taken.coalition)
        parts = ("a step", "a pruned step", "an image", "a pruned image", "a coalition")
        for part, before, after in zip(parts, BEFORE[name], now, strict=True):
            verdict(f"{name}, {part}, times as fast as before", before / after, PRESET_RATIO, "times", least=True)


def loras(sizes: Sizes) -> None:
    """Steps on kept latents against the loop that encodes each batch, in the same precision if there is a GPU."""
    print(flush=True)
    took = speeds(*sizes.lora)
    verdict("LoRA, kept latents", took.get("encoded", took["plain"]) / took["kept"], LORA_RATIO, "times", least=True)


def compiled(device: str, small: bool) -> None:
    """What compiling the CIFAR-20 net takes, and what it saves in a step; the first call in bfloat16 compiles."""
    architecture, batch = network(small)
    shown = np.zeros((batch, architecture.channels, architecture.image_size, architecture.image_size), dtype=np.uint8)
    steps = 2 if small else 50
    training = {"steps": steps, "batch_size": batch, "learning_rate": 1e-4, "ema_decay": 0.9999, "seed": 0}
    took = {}
    for wanted in (False, True):
        settings = replace(architecture, mixed_precision=True, torch_compile=wanted)
        model = DDPM.build(settings, seed=0).to(device)
        first = seconds_of(lambda: model.fit(shown, **training), device)  # noqa: B023
        took[wanted] = first, seconds_of(lambda: model.fit(shown, **training), device) / steps  # noqa: B023
    cost, saved = took[True][0] - took[False][0], took[False][1] - took[True][1]
    worth = f"pays after {cost / saved:,.0f} steps" if saved > 0 else "never pays"
    plain, quick = (1000 * took[wanted][1] for wanted in (False, True))
    print(f"\ncompiling takes {cost:.1f} s; a step {plain:.2f} ms, compiled {quick:.2f}: {worth}", flush=True)


def pairs_together(device: str, sizes: Sizes) -> None:
    """SAVA with one pair of batches after the other, and with several at once."""
    items, val_items = sizes.sava
    features, labels, _ = blobs(items, 128, seed=0, flipped=FLIPPED)
    val, val_labels, _ = blobs(val_items, 128, seed=1)
    batch_size, took, values = min(1024, val_items // 3), {}, []
    before = stacked_transport.STACKED_ON
    try:
        for on in ((), (device,)):
            stacked_transport.STACKED_ON = on

            def solve() -> None:
                values.append(
                    sava_values(
                        features,
                        labels,
                        val,
                        val_labels,
                        epsilon=EPSILON,
                        tolerance=TOLERANCE,
                        batch_size=batch_size,
                        device=device,
                    ).values
                )

            took[on] = seconds_of(solve, device)
    finally:
        stacked_transport.STACKED_ON = before
    apart = np.abs(values[0] - values[1]).max() / np.ptp(values[0])
    print(
        f"\nsava {items:,} x {val_items:,} x 128, batches of {batch_size}: {took[()]:.2f} s in turn, several at once "
        f"{took[device,]:.2f} s ({took[()] / took[device,]:.2f} times), difference/range {apart:.1e}",
        flush=True,
    )
    verdict("sava", took[device,], SAVA_SECONDS, "s")


def searched(device: str, sizes: Sizes) -> None:
    """A search on the CPU and on the GPU, with the copy, beside what the rule of `pays_on_gpu` says."""
    items, dimensions, queries = sizes.search
    features = np.random.default_rng(0).standard_normal((items, dimensions), dtype=np.float32)
    asked = features[:queries].copy()
    index = exact.Exact(features)
    on_cpu = seconds_of(lambda: index.search(asked, 10), device)
    rule = "GPU" if exact.pays_on_gpu(items, dimensions, queries) else "CPU"
    line = f"\nfaiss {items:,} x {dimensions}, {queries:,} queries: CPU {on_cpu:.2f} s"
    if hasattr(faiss, "StandardGpuResources") and device == "cuda":
        on_gpu = seconds_of(lambda: exact.on_device(index.flat, torch.device(device)).search(asked, 10), device)
        line += f", GPU with the copy {on_gpu:.2f} s"
    else:
        line += ", no GPU build of faiss is installed"
    print(f"{line}; the rule takes the {rule}", flush=True)


def seconds_of(work: Callable[[], object], device: str) -> float:
    """Seconds of one call."""
    if device == "cuda":
        torch.cuda.synchronize()
    began = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began
