"""Unlearning: approximate, in place, the model that was never trained on some images (appendix D.4 of the paper).

The methods start from the model trained on all images, and remove the influence of the images of contributors outside a
coalition. The paper compares coalition finetuning with the first two.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call, jvp
from torch.nn.attention import SDPBackend, sdpa_kernel

from royalty.models.generators.averaging import Average
from royalty.models.generators.denoiser import Denoiser
from royalty.models.generators.differentiable import of_denoiser
from royalty.models.generators.generator import batches
from royalty.models.generators.gradients import diffuse, image_gradients, noise_levels
from royalty.models.generators.unets import at_random_levels, target_of


def gradient_ascent(
    model: Denoiser,
    forget_images: np.ndarray,
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    progress: Callable[[int], None] | None = None,
) -> list[float]:
    """Increase the training loss on images to forget by stochastic gradient ascent (Graves et al. 2021).

    The loss has no upper bound, so many steps also destroy what was learned from the other images: use few.

    Args:
        forget_images: uint8, `(items, channels, height, width)`, at least one.
        learning_rate: of a step along the gradient of the loss, without momentum or decay.
        seed: of batches, timesteps and noise.
        progress: called with the number of steps done since the last call.

    Returns:
        The loss before each step.

    Raises:
        ValueError: no images to forget, or the loss is no longer finite; the model must then be discarded.
    """
    _refuse_empty(forget_images, "forget")
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(model.unet.parameters(), lr=learning_rate, maximize=True)
    diffusion_steps = model.scheduler.config.num_train_timesteps
    losses: list[float] = []
    for _ in range(steps):
        batch = torch.randint(len(forget_images), (batch_size,), generator=generator).numpy()
        clean = model.learned(forget_images[batch])
        noise = torch.randn(clean.shape, generator=generator)
        times = torch.randint(diffusion_steps, (batch_size,), generator=generator)
        clean, noise, times = (tensor.to(model.device) for tensor in (clean, noise, times))
        output = model.unet(model.scheduler.add_noise(clean, noise, times), times).sample
        loss = torch.nn.functional.mse_loss(output, target_of(model.scheduler, clean, noise, times))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(_finite(loss, len(losses) + 1, learning_rate))
        if progress is not None:
            progress(1)
    return losses


def mirrored_finetuning(
    model: Denoiser,
    kept_images: np.ndarray,
    forget_images: np.ndarray,
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    ema_decay: float,
    seed: int,
    progress: Callable[[int], None] | None = None,
) -> list[float]:
    """Finetune on images to keep, and away from what the model predicts for noisy images to forget.

    At a noisy input, the model v_0 predicts the mean target of all images that may be behind it:
    v_0 = w v_forget + (1 - w) v_keep. The target of a noisy image to forget is mirrored at this prediction,
    v_0 - (v - v_0). It is v_keep on average where w is one half, and lies on the way from v_forget through v_0 to
    v_keep everywhere. This is the negative guidance by which concepts are erased from diffusion models (Gandikota et
    al. 2023, equation 7, with a guidance of 1), with images to forget in place of a prompt. Unlike gradient ascent, it
    minimizes a loss that has a minimum.

    Args:
        kept_images, forget_images: uint8, `(items, channels, height, width)`, at least one of each.
        batch_size: images of a step, half of them to keep and half to forget; at least 2.
        ema_decay: see `Denoiser.fit`.
        seed: of batches, timesteps and noise.
        progress: called with the number of steps done since the last call.

    Returns:
        The loss of each step: mean squared error of the prediction from the targets of both halves.

    Raises:
        ValueError: no images to keep or forget, batches of one image, or the loss is no longer finite; the model must
            then be discarded.
    """
    _refuse_empty(kept_images, "keep")
    _refuse_empty(forget_images, "forget")
    if batch_size < 2:
        raise ValueError(f"a batch has an image to keep and one to forget; got a batch size of {batch_size}. Set 2")
    generator = torch.Generator().manual_seed(seed)
    start, parameters = copy.deepcopy(model.unet).requires_grad_(False), list(model.unet.parameters())
    optimizer, average = model.optimizing()(parameters, learning_rate), Average(parameters, ema_decay)
    forgotten = batch_size // 2
    plans = (
        batches(len(forget_images), forgotten, steps, generator),
        batches(len(kept_images), batch_size - forgotten, steps, generator),
    )
    losses: list[float] = []
    for forget, keep in zip(*plans, strict=True):
        clean = model.learned(np.concatenate([forget_images[forget.numpy()], kept_images[keep.numpy()]]))
        noisy, times, target = at_random_levels(model.scheduler, clean, generator)
        predicted = start(noisy[:forgotten], times[:forgotten]).sample
        target = torch.cat([2 * predicted - target[:forgotten], target[forgotten:]])
        loss = torch.nn.functional.mse_loss(model.unet(noisy, times).sample, target)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        average.add()
        losses.append(_finite(loss, len(losses) + 1, learning_rate))
        if progress is not None:
            progress(1)
    average.keep()
    return losses


def influence_unlearning(
    model: Denoiser,
    kept_images: np.ndarray,
    forget_images: np.ndarray,
    *,
    timesteps: int,
    damping: float,
    strength: float = 1.0,
    fisher_images: int = 256,
    seed: int,
    batch_size: int = 400,
    progress: Callable[[int], None] | None = None,
) -> float:
    """Take one Newton-like step towards the model without the forgotten images (Izzo et al. 2021; Jia et al. 2023).

    If theta minimizes the mean loss of all images, the minimum for the kept ones lies near
    theta + H^-1 (g_all - g_kept), where g are mean gradients and H is the Hessian on kept images; with
    g_all = 0 the step is H^-1 (sum of forgotten gradients) / (number of kept images). H is approximated by
    the damped empirical Fisher matrix of kept images, and the system is solved exactly (the matrix of
    WoodFisher; Singh & Alistarh 2020). This gives the direction but not the scale of H, so the length of the
    step minimizes the quadratic model along it, with the measured Gauss-Newton curvature.

    Args:
        kept_images, forget_images: uint8, `(items, channels, height, width)`, at least one of each.
        timesteps: number of evenly spaced noise levels that gradients are averaged over.
        damping: as a fraction of the mean non-zero eigenvalue of the Fisher matrix, above 0.
        strength: factor of the length of the step; 1 is the minimizing length above.
        fisher_images: kept images that the Fisher matrix is computed from; their gradients are held in memory.
        seed: of the noise, and of the choice of images for the Fisher matrix.
        batch_size: pairs of image and timestep that pass through the net at once.
        progress: called with the number of images done since the last call.

    Returns:
        The l2 norm of the change of the parameters.

    Raises:
        ValueError: no images to keep or forget, damping not above 0, or a step that is not finite.
    """
    _refuse_empty(kept_images, "keep")
    _refuse_empty(forget_images, "forget")

    def gradients(images: np.ndarray) -> Iterator[Tensor]:
        for chunk in image_gradients(
            of_denoiser(model), images, loss="simple", timesteps=timesteps, seed=seed, batch_size=batch_size
        ):
            yield chunk
            if progress is not None:
                progress(len(chunk))

    order = np.random.default_rng(seed).permutation(len(kept_images))
    sample, rest = kept_images[order[:fisher_images]], kept_images[order[fisher_images:]]
    fisher_gradients = torch.cat(list(gradients(sample)))  # (fisher_images, parameters)
    kept = sum((chunk.sum(dim=0) for chunk in gradients(rest)), fisher_gradients.sum(dim=0)) / len(kept_images)
    forgotten = sum((chunk.sum(dim=0) for chunk in gradients(forget_images)), torch.zeros_like(kept))
    forgotten /= len(forget_images)
    share = len(forget_images) / (len(kept_images) + len(forget_images))

    def curvature(direction: Tensor) -> float:
        return _curvature(model, sample, direction, timesteps=timesteps, seed=seed, batch_size=batch_size)

    step = strength * newton_step(fisher_gradients, share * (forgotten - kept), curvature, damping=damping)
    length = float(step.norm())
    if not math.isfinite(length):
        raise ValueError(f"the unlearning step must be finite; its length is {length}. Raise the damping of {damping}")
    with torch.no_grad():
        for parameter, change in zip(model.unet.parameters(), _split(model, step).values(), strict=True):
            parameter.add_(change)
    return length


def newton_step(gradients: Tensor, slope: Tensor, curvature: Callable[[Tensor], float], *, damping: float) -> Tensor:
    """The step along (F + lambda I)^-1 slope that maximizes slope.d - d.H.d / 2 over its length.

    F is the mean of g g' over the rows of `gradients`. If F is proportional to H and damping is small,
    this is the Newton step H^-1 slope.

    Args:
        gradients: `(samples, parameters)`.
        slope: `(parameters,)`.
        curvature: d.H.d for a direction d, `(parameters,)`.
        damping: lambda as a fraction of the mean non-zero eigenvalue of F, above 0.

    Returns:
        `(parameters,)`.

    Raises:
        ValueError: damping not above 0.
    """
    if not damping > 0:
        raise ValueError(f"damping is above 0; got {damping}. A value of 0.1 is a tenth of the mean eigenvalue")
    # By Woodbury's identity the system has the size of the samples, not of the parameters.
    gram = (gradients @ gradients.T).double()
    ridge = damping * gram.trace() / min(gradients.shape) * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    weights = torch.linalg.solve(gram + ridge, (gradients @ slope).double())
    direction = slope - weights.to(slope.dtype) @ gradients  # up to the factor 1 / lambda, which the length absorbs
    bend = curvature(direction)
    step: Tensor = direction * (torch.dot(slope, direction).item() / bend if bend > 0 else 0.0)
    return step


def _curvature(
    model: Denoiser, images: np.ndarray, direction: Tensor, *, timesteps: int, seed: int, batch_size: int
) -> float:
    """Gauss-Newton second derivative of the loss along a direction: 2 mean |J d|^2."""
    weights = {name: parameter.detach() for name, parameter in model.unet.named_parameters()}
    tangent = _split(model, direction)
    learner = of_denoiser(model)
    times, noise = noise_levels(learner, timesteps=timesteps, seed=seed)

    def change(noisy: Tensor, times: Tensor) -> Tensor:
        def output(weights: dict[str, Tensor]) -> Tensor:
            predicted: Tensor = functional_call(model.unet, weights, (noisy, times)).sample
            return predicted

        with sdpa_kernel(SDPBackend.MATH):  # the other kernels of attention have no forward derivative
            derivative: Tensor = jvp(output, (weights,), (tangent,))[1]
        return derivative

    total = 0.0
    for image in images:
        for start in range(0, timesteps, batch_size):
            part = slice(start, start + batch_size)
            noisy, _ = diffuse(learner, image[None], times[part], noise[part])
            total += 2 * change(noisy[0], times[part]).square().mean().item() * len(times[part])
    return total / (len(images) * timesteps)


def _split(model: Denoiser, vector: Tensor) -> dict[str, Tensor]:
    """A vector `(parameters,)` as tensors by name, shaped like the parameters."""
    named = dict(model.unet.named_parameters())
    parts = torch.split(vector, [parameter.numel() for parameter in named.values()])
    return {name: part.view_as(named[name]) for name, part in zip(named, parts, strict=True)}


def _finite(loss: Tensor, step: int, learning_rate: float) -> float:
    value = loss.item()
    if not math.isfinite(value):
        raise ValueError(
            f"unlearning diverged: the loss of step {step} is {value}. Take fewer steps, or lower the learning rate, "
            f"which is {learning_rate}"
        )
    return value


def _refuse_empty(images: np.ndarray, purpose: str) -> None:
    if not len(images):
        raise ValueError(f"unlearning needs at least one image to {purpose}; got none. Pass images")
