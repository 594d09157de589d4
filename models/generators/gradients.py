"""Per-image gradients of the diffusion loss, randomly projected, for TRAK and related methods.

Gradients are with respect to the weights that training changes: all of a diffusion model, or those of a LoRA. The
gradient of an image is averaged over timesteps before it is projected; by linearity the order makes no difference. The
loss is that of training, the mean squared error of the prediction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from royalty.models.base.choices import SchedulerName
from royalty.models.generators.differentiable import Differentiable
from royalty.models.generators.schedulers import times_of
from royalty.models.generators.unets import target_of

Loss = Literal["simple", "square", "absolute"]
"""The training loss, or the mean square or the mean absolute value of the model's output."""


class CountSketch:
    """A random linear map that keeps inner products in expectation, in time linear in the input.

    Every coordinate gets a random sign and joins one of `projection` sums (Charikar et al. 2002; as a
    kernel estimate, Weinberger et al. 2009; for data attribution, Hu et al. 2025). A dense Gaussian map
    would cost `projection` times as much and hold dimension x projection numbers. The sums have equally
    many terms, so that the variance of <Sa, Sb> is below the Gaussian map's
    (|a|^2 |b|^2 + <a, b>^2) / projection, and a projection no smaller than the dimension is an isometry.
    """

    def __init__(self, dimension: int, projection: int, *, seed: int, device: torch.device) -> None:
        if projection < 1:
            raise ValueError(
                f"gradients are projected to at least 1 dimension; got {projection}. A usual value is 4096"
            )
        self.projection = projection
        self.terms = -(-dimension // projection)
        generator = torch.Generator().manual_seed(seed)  # on the CPU, so that the map is the same on all devices
        self.padding = self.terms * projection - dimension
        self.order = torch.randperm(self.terms * projection, generator=generator).to(device)
        self.signs = (torch.randint(2, (dimension,), generator=generator) * 2.0 - 1).to(device)

    def __call__(self, vectors: Tensor) -> Tensor:
        """Project `(n, dimension)` to `(n, projection)`."""
        padded = torch.nn.functional.pad(vectors * self.signs, (0, self.padding))
        return padded[:, self.order].view(len(vectors), self.terms, self.projection).sum(dim=1)


def loss_gradients(
    model: Differentiable,
    images: np.ndarray,
    conditions: Tensor | None = None,
    *,
    loss: Loss,
    timesteps: int = 100,
    projection: int,
    seed: int,
    batch_size: int = 400,
    progress: Callable[[int], None] | None = None,
) -> np.ndarray:
    """Gradients of each image's loss, phi(x) of equations 14 ("simple") and 16 ("square").

    All images share the noise of a timestep. So a gradient depends on its image alone, copies have equal gradients, and
    training and generated images are compared under the same noise.

    Args:
        images: uint8, `(n, channels, height, width)`.
        conditions: of the images, `(n, ...)`, for a net that takes them: `model.given` of training images, and
            `model.asked` of generated ones.
        loss: "simple", the training loss; "square", the mean square of the model's output (D-TRAK); or "absolute", its
            mean absolute value (DAS).
        timesteps: number of timesteps, evenly spaced from 1 to T - 1, where T is the number of diffusion steps.
        projection: dimensions to project to; inner products vary by about projection ** -0.5.
        seed: of the noise and the projection; use the same for gradients that will be compared.
        batch_size: pairs of image and timestep that pass through the net at once.
        progress: called with the number of images done since the last call.

    Returns:
        float32, `(n, projection)`; row i is of image i.

    Raises:
        ValueError: an unknown loss, a projection below 1, timesteps outside 1 to T - 1, or not one condition for each
            image of a net that takes them.
    """
    sketch = CountSketch(model.dimension, projection, seed=seed, device=model.device)
    rows = []
    settings: dict[str, Any] = {"loss": loss, "timesteps": timesteps, "seed": seed, "batch_size": batch_size}
    for chunk in image_gradients(model, images, conditions, **settings):
        rows.append(sketch(chunk).cpu().numpy())
        if progress is not None:
            progress(len(chunk))
    return np.concatenate(rows)


def journey_gradients(
    model: Differentiable,
    *,
    n: int,
    seed: int,
    steps: int,
    scheduler: SchedulerName = "unipc",
    projection: int,
    projection_seed: int,
    batch_size: int = 400,
    progress: Callable[[int], None] | None = None,
) -> np.ndarray:
    """Query gradients of Journey-TRAK (equation 17): of the loss at each noisy latent of the sampling path.

    The images are those that the model samples with these arguments. The input of a step is the latent itself. Its
    target is the velocity, or noise, of the latent as a mixture of the finished image and noise. The score is linear in
    the query, so gradients are averaged over the steps.

    Args:
        n, seed, steps, scheduler: the arguments with which the images were sampled.
        projection, projection_seed: as `projection` and `seed` of the training gradients.
        batch_size: pairs of image and step that pass through the net at once.
        progress: called with the number of images done since the last call.

    Returns:
        float32, `(n, projection)`; row i is of image i.
    """
    sketch = CountSketch(model.dimension, projection, seed=projection_seed, device=model.device)
    rows = []
    for times, latents, finished, conditions in _sampling_paths(model, n, seed=seed, steps=steps, scheduler=scheduler):
        signal = model.scheduler.alphas_cumprod.to(model.device)[times].view(-1, 1, 1, 1)
        noise = (latents - signal.sqrt() * finished.unsqueeze(1)) / (1 - signal).sqrt()
        velocity = signal.sqrt() * noise - (1 - signal).sqrt() * finished.unsqueeze(1)  # (images, steps, c, h, w)
        target = noise if model.scheduler.config.prediction_type == "epsilon" else velocity
        images_at_once = max(1, batch_size // steps)
        for start in range(0, len(latents), images_at_once):
            part = slice(start, start + images_at_once)
            given = None if conditions is None else conditions[part]
            rows.append(
                sketch(_mean_gradients(model, latents[part], times, target[part], given, batch_size)).cpu().numpy()
            )
            if progress is not None:
                progress(len(latents[part]))
    return np.concatenate(rows)


def image_gradients(
    model: Differentiable,
    images: np.ndarray,
    conditions: Tensor | None = None,
    *,
    loss: Loss,
    timesteps: int,
    seed: int,
    batch_size: int,
) -> Iterator[Tensor]:
    """Unprojected gradients, a few images at a time: `(images, parameters)`, in the order of the images.

    Arguments and errors are those of `loss_gradients`; parameters are in the order of `model.weights`.
    """
    if loss not in get_args(Loss):
        raise ValueError(f'the loss is "simple", "square" or "absolute"; got {loss!r}. Choose one of these')
    _check_conditions(model, conditions, len(images))
    times, noise = noise_levels(model, timesteps=timesteps, seed=seed)
    images_at_once = max(1, batch_size // timesteps)
    for start in range(0, len(images), images_at_once):
        part = slice(start, start + images_at_once)
        noisy, velocity = diffuse(model, images[part], times, noise)
        target = velocity if loss == "simple" else torch.zeros_like(velocity)
        given = None if conditions is None else conditions[part]
        yield _mean_gradients(model, noisy, times, target, given, batch_size, absolute=loss == "absolute")


@torch.no_grad()
def prediction_errors(
    model: Differentiable,
    images: np.ndarray,
    conditions: Tensor | None = None,
    *,
    timesteps: int = 100,
    seed: int,
    batch_size: int = 400,
) -> np.ndarray:
    """Root mean square error of the prediction for each image, averaged over timesteps: the residual r of DAS.

    Arguments and errors are those of `loss_gradients`; equal seeds give equal noise.

    Returns:
        float64, `(n,)`, not negative.
    """
    _check_conditions(model, conditions, len(images))
    times, noise = noise_levels(model, timesteps=timesteps, seed=seed)
    errors = []
    for image in range(len(images)):
        noisy, target = (rows[0] for rows in diffuse(model, images[image : image + 1], times, noise))
        told = [] if conditions is None else [conditions[image]]
        squares = [
            (_predicted(model, model.weights, inputs, at, *told) - wanted).square().flatten(1).mean(dim=1)
            for inputs, at, wanted in zip(
                *(torch.split(rows, batch_size) for rows in (noisy, times, target)), strict=True
            )
        ]
        errors.append(float(torch.cat(squares).sqrt().mean()))
    return np.array(errors)


def noise_levels(model: Differentiable, *, timesteps: int, seed: int) -> tuple[Tensor, Tensor]:
    """Evenly spaced timesteps, `(timesteps,)`, and noise for each, `(timesteps, channels, height, width)`.

    Raises:
        ValueError: fewer than one timestep, or more than the diffusion has.
    """
    last = model.scheduler.config.num_train_timesteps - 1
    if not 1 <= timesteps <= last:
        raise ValueError(f"the loss is averaged over 1 to {last} timesteps; got {timesteps}. A usual value is 100")
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn((timesteps, *model.noise_shape), generator=generator).to(model.device)
    return torch.linspace(1, last, timesteps).round().long().to(model.device), noise


def diffuse(model: Differentiable, images: np.ndarray, times: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Noisy versions of uint8 images and their prediction targets, each `(n, timesteps, channels, height, width)`."""
    clean = model.learned(images)
    shape = (len(clean), len(times))
    pairs = (clean.repeat_interleave(len(times), dim=0), noise.repeat(len(clean), 1, 1, 1), times.repeat(len(clean)))
    noisy: Tensor = model.scheduler.add_noise(*pairs)
    target = target_of(model.scheduler, *pairs)
    return noisy.view(shape + noisy.shape[1:]), target.view(shape + target.shape[1:])


def _mean_gradients(
    model: Differentiable,
    noisy: Tensor,
    times: Tensor,
    target: Tensor,
    conditions: Tensor | None,
    batch_size: int,
    *,
    absolute: bool = False,
) -> Tensor:
    """Gradient of each image's squared, or absolute, error, averaged over pixels and times: `(n, weights)`."""
    told = [] if conditions is None else [conditions]

    def error(weights: dict[str, Tensor], noisy: Tensor, times: Tensor, target: Tensor, *told: Tensor) -> Tensor:
        error = _predicted(model, weights, noisy, times, *told) - target
        return (error.abs() if absolute else error.square()).mean() * len(error)

    gradients = vmap(grad(error), in_dims=(None, 0, None, 0, *(0 for _ in told)))
    total = torch.zeros(len(noisy), model.dimension, device=model.device)
    for start in range(0, len(times), batch_size):
        part = slice(start, start + batch_size)
        with sdpa_kernel(SDPBackend.MATH):  # `vmap` runs the other kernels of attention image by image
            by_name = gradients(model.weights, noisy[:, part], times[part], target[:, part], *told)
        total += torch.cat([gradient.flatten(1) for gradient in by_name.values()], dim=1)
    return total / len(times)


def _predicted(
    model: Differentiable, weights: dict[str, Tensor], noisy: Tensor, times: Tensor, *told: Tensor
) -> Tensor:
    """The net's prediction for the noisy versions of one image and, of a net that takes it, its condition."""
    conditions = [condition.expand(len(noisy), *condition.shape) for condition in told]
    predicted: Tensor = functional_call(model.net, weights, (noisy, times, *conditions)).sample
    return predicted


def _check_conditions(model: Differentiable, conditions: Tensor | None, images: int) -> None:
    """Check that there is a condition for each image, if the net takes them."""
    given = None if conditions is None else len(conditions)
    if given != (images if model.told else None):
        raise ValueError(
            f"a net {'with' if model.told else 'without'} conditions needs "
            f"{f'{images} conditions, one for each image' if model.told else 'none'}; got {given}. Pass `model.given` "
            "of training images, or `model.asked` of generated ones"
        )


@torch.no_grad()
def _sampling_paths(
    model: Differentiable, n: int, *, seed: int, steps: int, scheduler: SchedulerName
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor | None]]:
    """Batches: times `(steps,)`, latents `(batch, steps, c, h, w)`, results `(batch, c, h, w)`, and conditions."""
    asked = model.asked(n)
    for index, start in enumerate(range(0, n, model.sampling_batch)):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + index)
        size = min(model.sampling_batch, n - start)
        latent = torch.randn((size, *model.noise_shape), generator=generator).to(model.device)
        conditions = None if asked is None else asked[start : start + size]
        solver, path = model.solver(steps, scheduler), []
        for time, told in times_of(solver, model.device):
            path.append(latent)
            latent = solver.step(model.predict(latent, told, conditions), time, latent).prev_sample
        finished = latent.clamp(-1, 1) if model.pixels else latent
        yield solver.timesteps.to(model.device), torch.stack(path, dim=1), finished, conditions
