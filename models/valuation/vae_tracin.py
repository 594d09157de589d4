"""VAE-TracIn: influence of training images on what a VAE generates (Kong & Chaudhuri 2021).

TracIn (Pruthi et al. 2020) for the loss of a VAE: the sum over checkpoints of the learning rate times the inner
product of two gradients, of the loss of the training image and of the loss of the generated image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap

from royalty.models.base.errors import InputError
from royalty.models.generators.beta_vae import LATENTS, BetaVAE
from royalty.models.valuation.memory import check_fits

VAECheckpoint = tuple[float, BetaVAE]
"""Learning rate at a checkpoint, and the model of the checkpoint."""


def vae_tracin_scores(
    checkpoints: Sequence[VAECheckpoint],
    images: np.ndarray,
    generated: np.ndarray,
    *,
    draws: int = 4,
    seed: int,
    batch_size: int = 64,
    progress: Callable[[int], None] | None = None,
) -> np.ndarray:
    """Influence of each training image on each generated image: sum over t of eta_t <grad l_t(x_i), grad l_t(x_j)>.

    A positive score means that a step of gradient descent on the training image lowers the loss of the generated image.
    For models trained by Adam, whose steps differ, this holds approximately. The loss is that of `BetaVAE.forward`,
    averaged over a few draws of noise that all images share. A score therefore depends on its two images only, and
    copies have equal scores.

    Memory holds the gradients of all generated images at one checkpoint, 1.5 MB each, and those of one batch of
    training images. Gradients of training images are computed once for each checkpoint.

    Args:
        checkpoints: at least one, of a model trained on `images`.
        images: uint8, `(items, channels, height, width)`.
        generated: uint8, `(generated, channels, height, width)`.
        draws: number of draws of the noise, at least 1.
        seed: of the noise.
        batch_size: number of images whose gradients are computed at once.
        progress: called with the number of training images done since the last call, for each checkpoint.

    Returns:
        float64, `(generated, items)`; higher is more valuable.

    Raises:
        InputError: no checkpoint; a learning rate that is not above 0 and finite; no draws; images whose shape is not
            that of the models; scores that do not fit in memory.
    """
    if not checkpoints:
        raise InputError("influence is summed over checkpoints; got none. Give at least the trained model")
    if draws < 1:
        raise InputError(f"the loss is averaged over at least 1 draw of the noise, got {draws}; 4 is usual")
    for rate, _ in checkpoints:
        if not 0 < rate < float("inf"):
            raise InputError(f"learning rates are above 0 and finite, got {rate}; give those of the training")
    check_fits(
        "scores of training images by generated ones",
        len(generated),
        len(images),
        bytes_each=8,
        remedy="Trace fewer generated images at a time",
    )
    noise = torch.randn((draws, LATENTS), generator=torch.Generator().manual_seed(seed))
    scores = np.zeros((len(generated), len(images)))
    for rate, model in checkpoints:
        queries = torch.cat(list(loss_gradients(model, generated, noise, batch_size)))  # (generated, parameters)
        start = 0
        for rows in loss_gradients(model, images, noise, batch_size):
            scores[:, start : start + len(rows)] += rate * (queries @ rows.T).double().cpu().numpy()
            start += len(rows)
            if progress is not None:
                progress(len(rows))
    return scores


def loss_gradients(model: BetaVAE, images: np.ndarray, noise: Tensor, batch_size: int) -> Iterator[Tensor]:
    """Yield the gradients of the losses of images, `(images, parameters)`, batch by batch in their order.

    Args:
        noise: `(draws, 32)`, shared by all images; the loss is averaged over it.
    """
    parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}
    shared_noise = noise.to(model.device)

    def loss(weights: dict[str, Tensor], image: Tensor) -> Tensor:
        repeated = image.expand(len(shared_noise), *image.shape)
        losses: Tensor = functional_call(model, weights, (repeated, shared_noise))
        return losses.mean()

    gradients = vmap(grad(loss), in_dims=(None, 0))
    for batch in torch.split(model.framed(images), batch_size):
        by_name = gradients(parameters, batch)
        yield torch.cat([gradient.flatten(1) for gradient in by_name.values()], dim=1)
