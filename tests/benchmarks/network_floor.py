"""Times of the CIFAR-20 network by precision, and their ratios to what its operations and bytes take at least.

Part of `python -m tests.benchmarks.gpu_speed`. The device's peaks are measured in the same run: operations by a product
of large matrices in the same precision, bytes by a copy. The floors are:

- operations: those of convolutions and products, counted by PyTorch on the meta device, at the peak of operations;
- bytes, at the peak of copies. A step of training reads the weights twice and writes their gradients; the optimizer
  reads gradients, weights and two moments, and writes the last three; the average reads two numbers and writes one. Of
  each activation that autograd stores, one write and one read. A step of sampling reads the weights, and reads and
  writes the images.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from royalty.flows.configuration import load_config
from royalty.models.base.precision import full_float32
from royalty.models.generators import acceleration
from royalty.models.generators.ddpm import DDPM, OUTLINED_CLASSES
from royalty.models.generators.denoiser import architecture_of
from royalty.models.generators.outline import activations
from royalty.models.generators.pruning import example_of
from royalty.models.generators.unets import Architecture

WEIGHT_TRAFFIC = 13
"""Numbers of a step of training for each weight: 2 reads and 1 gradient, then 4 reads and 3 writes, then 3."""

SAMPLED = 10
"""Sampling steps that are timed; an image takes 100."""


@dataclass(frozen=True)
class Way:
    """How a network computes.

    Attributes:
        product: type of the matrices whose product gives the peak of operations.
        number: bytes of an activation.
        within: settings of PyTorch that hold for network and product.
    """

    name: str
    product: torch.dtype
    number: int
    within: Callable[[], AbstractContextManager[object]]
    mixed: bool = False


@contextmanager
def tf32_products() -> Iterator[None]:
    """Compute matrix products in TF32, as convolutions do by default."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def channels_first() -> Iterator[None]:
    """Leave the weights of convolutions as they are on a CPU."""
    before = acceleration.CHANNELS_LAST
    acceleration.CHANNELS_LAST = ()
    try:
        yield
    finally:
        acceleration.CHANNELS_LAST = before


WAYS = (
    Way("float32, TF32 convolutions", torch.float32, 4, nullcontext),
    Way("the same, channels first", torch.float32, 4, channels_first),
    Way("full float32", torch.float32, 4, full_float32),
    Way("bfloat16", torch.bfloat16, 2, nullcontext, mixed=True),
)


def network(small: bool) -> tuple[Architecture, int]:
    """The network of the preset `cifar20`, or a tiny one; and the images of a batch."""
    if small:
        return Architecture(8, 3, (8, 16), 1, flip=True), 8
    config = load_config(file=None, preset="cifar20", name=None, data=Path())
    return architecture_of(3, 32, OUTLINED_CLASSES, **config.generator.architecture()), config.generator.batch_size


def seconds(work: Callable[[], object], device: str, times: int) -> float:
    """Mean seconds of a call, after one that chooses kernels."""
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(times):
        work()
    if device == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - began) / times


def peak_operations(kind: torch.dtype, device: str, side: int) -> float:
    """Operations a second of the product of two square matrices."""
    first, second = (torch.randn(side, side, device=device, dtype=kind) for _ in range(2))
    return 2 * side**3 / seconds(lambda: first @ second, device, 10)


def peak_bytes(device: str, numbers: int) -> float:
    """Bytes a second, read and written, of a copy."""
    source = torch.zeros(numbers, device=device)
    target = torch.empty_like(source)
    return 8 * numbers / seconds(lambda: target.copy_(source), device, 10)


def operations(architecture: Architecture, *, backward: bool) -> int:
    """Operations of an image in one pass through the network, with its gradients or without."""
    with torch.device("meta"):
        net = DDPM.build(architecture, seed=0).unet
        example = example_of(net)
        with FlopCounterMode(display=False) as counter:
            predicted = net(*example).sample
            if backward:
                predicted.sum().backward()
    return int(counter.get_total_flops()) // len(example[0])


def networks(device: str, small: bool) -> None:
    """Print a step of training and a sampled image, and the ratio of each to its floors."""
    architecture, batch = network(small)
    steps, images = (3, 4) if small else (60, 256)
    shown = np.random.default_rng(0).integers(
        0, 256, (batch, architecture.channels, architecture.image_size, architecture.image_size), dtype=np.uint8
    )
    copies = peak_bytes(device, 10**6 if small else 2**28)
    with torch.device("meta"):
        net = DDPM.build(architecture, seed=0).unet
        weights, stored = sum(weight.numel() for weight in net.parameters()), activations(net, example_of(net)) // 4
    trained, sampled = (operations(architecture, backward=backward) for backward in (True, False))
    print(f"\n{weights / 1e6:.2f} million weights, batches of {batch}; {images} images together, of 100 DDIM steps")
    print(f"{trained * batch / 1e9:.3g} GFLOP a step of training, {sampled / 1e9:.3g} a step of an image")
    print(f"copies {copies / 1e9:.3g} GB/s. Ratios are those of the time to the floors by operations and by bytes")
    columns = f"{'':27} {'TFLOP/s':>8} {'step, ms':>9} {'operations':>11} {'bytes':>7}"
    print(f"{columns} {'image, ms':>10} {'operations':>11} {'bytes':>7}")
    pixels = int(np.prod(shown.shape[1:]))
    for way in WAYS:
        model = DDPM.build(replace(architecture, mixed_precision=way.mixed), seed=0).to(device)
        training = {"batch_size": batch, "learning_rate": 1e-4, "ema_decay": 0.9999, "seed": 0}
        convolutions = tf32_products if way.within in (nullcontext, channels_first) else way.within
        with convolutions():
            peak = peak_operations(way.product, device, 256 if small else 8192)
        with way.within():
            step = seconds(lambda: model.fit(shown, steps=steps, **training), device, 1) / steps  # noqa: B023
            image = seconds(
                lambda: model.sample(images, seed=0, steps=SAMPLED, scheduler="ddim", batch_size=images),  # noqa: B023
                device,
                1,
            )
        image *= 10 / images
        training_bytes = 4 * WEIGHT_TRAFFIC * weights + 2 * way.number * stored * batch
        sampling_bytes = 10 * SAMPLED * (way.number * weights / images + 8 * pixels)
        print(
            f"{way.name:27} {peak / 1e12:8.3g} {step * 1000:9.2f} {step * peak / (trained * batch):11.1f} "
            f"{step * copies / training_bytes:7.1f} {image * 1000:10.2f} "
            f"{image * peak / (sampled * 10 * SAMPLED):11.1f} {image * copies / sampling_bytes:7.1f}",
            flush=True,
        )
