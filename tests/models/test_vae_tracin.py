"""VAE-TracIn against gradients taken one by one, and what it promises."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from royalty.models.base.errors import InputError
from royalty.models.generators.beta_vae import LATENTS, BetaVAE
from royalty.models.valuation.vae_tracin import vae_tracin_scores

SHAPE = (1, 28, 28)


def pictures(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, *SHAPE), dtype=np.uint8)


@pytest.fixture(scope="module")
def models() -> list[BetaVAE]:
    return [BetaVAE(SHAPE, beta=2.0, seed=seed) for seed in range(2)]


def gradient(model: BetaVAE, image: np.ndarray, noise: torch.Tensor) -> torch.Tensor:
    """By plain autograd: of the loss of one image, averaged over draws one after the other."""
    model = copy.deepcopy(model)
    for draw in noise:
        (model(model.framed(image[None]), draw[None]).sum() / len(noise)).backward()
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()]).double()


def test_equals_gradients_one_by_one(models: list[BetaVAE]) -> None:
    images, generated, rates = pictures(5, seed=2), pictures(3, seed=1), (1e-3, 5e-4)
    noise = torch.randn((2, LATENTS), generator=torch.Generator().manual_seed(7))
    expected = np.zeros((3, 5))
    for rate, model in zip(rates, models, strict=True):
        rows, queries = (torch.stack([gradient(model, one, noise) for one in side]) for side in (images, generated))
        expected += rate * (queries @ rows.T).numpy()
    done: list[int] = []
    checkpoints = list(zip(rates, models, strict=True))
    options = {"draws": 2, "seed": 7, "batch_size": 3}
    scores = vae_tracin_scores(checkpoints, images, generated, **options, progress=done.append)
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
    assert done == [3, 2, 3, 2]


def test_linear_in_checkpoints_and_rates(models: list[BetaVAE]) -> None:
    images, generated = pictures(4), pictures(2, seed=1)

    def scores(*checkpoints: tuple[float, BetaVAE]) -> np.ndarray:
        return vae_tracin_scores(checkpoints, images, generated, draws=1, seed=0)

    first, second = scores((1.0, models[0])), scores((1.0, models[1]))
    scale = np.abs(first).max() + np.abs(second).max()
    both = scores((0.3, models[0]), (2.0, models[1]))
    np.testing.assert_allclose(both, 0.3 * first + 2 * second, atol=1e-6 * scale)


def test_symmetric_positive_to_itself_and_blind_to_order(models: list[BetaVAE]) -> None:
    """A matrix of inner products: an image helps itself most of all, by no less than Cauchy and Schwarz allow."""
    images = pictures(5)
    images[4] = images[1]
    scores = vae_tracin_scores([(1.0, models[0])], images, images, draws=1, seed=0)
    np.testing.assert_allclose(scores, scores.T, rtol=1e-4)
    np.testing.assert_allclose(scores[:, 4], scores[:, 1], rtol=1e-4)
    own = np.diag(scores)
    assert (own > 0).all()
    assert (scores**2 <= np.outer(own, own) * (1 + 1e-4)).all()
    turned = vae_tracin_scores([(1.0, models[0])], images[::-1], images, draws=1, seed=0)
    np.testing.assert_allclose(turned, scores[:, ::-1], rtol=1e-4)


def test_a_step_on_a_valuable_image_lowers_the_loss_of_the_generated_one(models: list[BetaVAE]) -> None:
    """The sign and the size: the first-order change of the loss by a small step of gradient descent."""
    rate, model = 1e-9, models[0]
    image, made = pictures(1), pictures(1, seed=1)
    noise = torch.randn((1, LATENTS), generator=torch.Generator().manual_seed(0))
    score = vae_tracin_scores([(rate, model)], image, made, draws=1, seed=0).item()
    before, after = copy.deepcopy(model).double(), copy.deepcopy(model).double()
    step = gradient(model, image[0], noise)
    torch.nn.utils.vector_to_parameters(
        torch.nn.utils.parameters_to_vector(after.parameters()) - rate * step, after.parameters()
    )
    shown = model.framed(made).double()
    with torch.inference_mode():
        fall = (before(shown, noise.double()) - after(shown, noise.double())).item()
    assert fall == pytest.approx(score, rel=1e-2)


def test_bad_input_is_refused(models: list[BetaVAE]) -> None:
    images = pictures(2)
    with pytest.raises(InputError, match="got none"):
        vae_tracin_scores([], images, images, seed=0)
    with pytest.raises(InputError, match="at least 1 draw of the noise, got 0"):
        vae_tracin_scores([(1.0, models[0])], images, images, draws=0, seed=0)
    for rate in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="above 0 and finite"):
            vae_tracin_scores([(rate, models[0])], images, images, seed=0)
    with pytest.raises(InputError, match="float64"):
        vae_tracin_scores([(1.0, models[0])], images / 255, images, seed=0)
    with pytest.raises(InputError, match=r"shape \(2, 1, 20, 28\)"):
        vae_tracin_scores([(1.0, models[0])], images, images[:, :, :20], seed=0)
