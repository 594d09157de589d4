"""IF4GAN: influence of training images on the images of a GAN, through its last steps (Terashita et al. 2021).

Generator and discriminator take simultaneous steps of gradient descent, theta' = theta - eta g(theta), where g has the
gradient of each net's own loss. Without image j, a step that saw it differs by eta/b grad l_j, b images being a batch.
This difference is carried to the last step by I - eta J, with J the Jacobian of g, and then into a score of the
generated images. Here the score's gradient is carried back instead, so that all images are valued by one pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp

from royalty.models.base.errors import InputError
from royalty.models.valuation.memory import check_fits

Score = Callable[[Tensor], Tensor]
"""From generated images, `(codes, ...)`, a scalar that is higher for better ones; differentiable."""

Weights = tuple[dict[str, Tensor], dict[str, Tensor]]
"""Parameters of generator and discriminator by name."""

softplus = nn.functional.softplus


def gan_influence(
    generator: nn.Module,
    discriminator: nn.Module,
    images: Tensor,
    codes: Tensor,
    score: Score,
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    progress: Callable[[int], None] | None = None,
) -> np.ndarray:
    """The value of each training image: how much lower the score would be without its terms in the last steps.

    To first order in the weight of an image, it is exact for these steps. The nets are not changed. Both losses are
    those of `royalty.models.generators.dcgan.DCGAN`; nets with normalization by batch must be in evaluation mode, or an
    image has effect through the others of its batch.

    Args:
        generator, discriminator: trained nets, from codes to images and from images to logits, `(images, 1)`.
        images: the training images, `(items, ...)`, as the discriminator takes them.
        codes: codes of the generated images that are scored, `(codes, ...)`; each step draws a batch of others, from a
            normal distribution.
        score: of the generated images after the last step.
        epochs: passes over the images, at least 1; each has new batches.
        batch_size: images, and codes, of a step, from 1 to the number of images.
        learning_rate: eta, above 0 and finite.
        seed: of the batches and codes of steps.
        progress: called with 1 after each step, forward and back.

    Returns:
        float64, `(items,)`, in the units of the score; higher is more valuable.

    Raises:
        InputError: a number is out of range, memory does not hold the weights of all steps, or these diverge.
    """
    if epochs < 1 or not 1 <= batch_size <= len(images) or not 0 < learning_rate < float("inf"):
        raise InputError(
            f"influence needs at least one epoch, batches of 1 to all {len(images)} images, and a finite learning rate "
            f"above 0; got {epochs} epochs, batches of {batch_size} and a rate of {learning_rate:g}"
        )
    draws = torch.Generator().manual_seed(seed)
    orders = [torch.randperm(len(images), generator=draws) for _ in range(epochs)]
    batches = [batch for order in orders for batch in torch.split(order, batch_size)]
    weights: Weights = (_weights(generator), _weights(discriminator))
    check_fits(
        "weights of both nets at each step",
        len(batches) + 1,
        sum(weight.numel() for part in weights for weight in part.values()),
        bytes_each=next(iter(weights[0].values())).element_size(),
        remedy="Take fewer epochs, or larger batches",
    )
    noises = [torch.randn((len(batch), *codes.shape[1:]), generator=draws, dtype=codes.dtype) for batch in batches]
    noises = [noise.to(codes.device) for noise in noises]

    def fields(at: Weights, step: int, *, differentiable: bool) -> tuple[list[Tensor], list[Tensor]]:
        """Both nets' parameters, generator first, and the gradient of each one's own loss."""
        made = functional_call(generator, at[0], (noises[step],))
        logits = functional_call(discriminator, at[1], (made,))
        real = functional_call(discriminator, at[1], (images[batches[step]],))
        losses = softplus(-logits).mean(), softplus(-real).mean() + softplus(logits).mean()
        sides = [list(part.values()) for part in at]
        gradients = [
            torch.autograd.grad(loss, side, retain_graph=True, create_graph=differentiable)
            for loss, side in zip(losses, sides, strict=True)
        ]
        return [*sides[0], *sides[1]], [*gradients[0], *gradients[1]]

    path = [weights]
    for step in range(len(batches)):
        parameters, gradients = fields(path[-1], step, differentiable=False)
        moved = [weight.detach() - learning_rate * slope for weight, slope in zip(parameters, gradients, strict=True)]
        if not all(bool(weight.isfinite().all()) for weight in moved):
            raise InputError(
                f"influence follows steps that converge; weights are no longer finite at step {step + 1} of "
                f"{len(batches)}, at a learning rate of {learning_rate:g}. Take a tenth of it"
            )
        path.append(_named(weights, moved))
        if progress is not None:
            progress(1)

    last = list(path[-1][0].values())
    carried = [
        *torch.autograd.grad(score(functional_call(generator, path[-1][0], (codes,))), last),
        *(torch.zeros_like(weight) for weight in weights[1].values()),
    ]
    values = torch.zeros(len(images), dtype=torch.float64)
    for step in reversed(range(len(batches))):
        at, batch = path[step], batches[step]
        slopes = _slopes(discriminator, at[1], _named(weights, carried)[1], images[batch])
        values[batch] -= learning_rate / len(batch) * slopes.double().cpu()
        parameters, gradients = fields(at, step, differentiable=True)
        along = cast(Tensor, sum((slope * side).sum() for slope, side in zip(gradients, carried, strict=True)))
        back = torch.autograd.grad(along, parameters)
        carried = [side - learning_rate * change for side, change in zip(carried, back, strict=True)]
        if progress is not None:
            progress(1)
    found: np.ndarray = values.numpy()
    return found


def log_likelihood(real: Tensor, width: float) -> Score:
    """The mean log-likelihood of real images under Gaussian kernels at the generated ones, up to a constant.

    Args:
        real: `(images, ...)`.
        width: standard deviation of a kernel, above 0, in units of the images.
    """
    points = real.flatten(1)

    def score(made: Tensor) -> Tensor:
        squares = torch.cdist(points, made.flatten(1)).square()  # (images, made)
        return torch.logsumexp(-squares / (2 * width**2), dim=1).mean()

    return score


def _slopes(discriminator: nn.Module, at: dict[str, Tensor], along: dict[str, Tensor], images: Tensor) -> Tensor:
    """How the loss of each real image changes if the discriminator's weights move along a direction: `(images,)`."""

    def losses(weights: dict[str, Tensor]) -> Tensor:
        return softplus(-functional_call(discriminator, weights, (images,))).flatten()

    plain = {name: weight.detach() for name, weight in at.items()}
    slopes: Tensor = jvp(losses, (plain,), ({name: along[name] for name in plain},))[1]
    return slopes.detach()


def _weights(net: nn.Module) -> dict[str, Tensor]:
    return {name: weight.detach().clone().requires_grad_() for name, weight in net.named_parameters()}


def _named(like: Weights, flat: list[Tensor]) -> Weights:
    """A list of tensors, those of the generator first, by the names of the weights."""
    generator = [flat[place].detach().requires_grad_() for place in range(len(like[0]))]
    discriminator = [tensor.detach().requires_grad_() for tensor in flat[len(generator) :]]
    return dict(zip(like[0], generator, strict=True)), dict(zip(like[1], discriminator, strict=True))
