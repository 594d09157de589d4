"""TracIn by checkpoints of a network: what it finds, and the gradients that it multiplies."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from royalty.models.base.errors import InputError
from royalty.models.judging.network_tracin import network_tracin_values
from royalty.models.properties.classifier import Classifier


def bars(items: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noisy images with an upright bar or a level one, uint8, and which."""
    generator = np.random.default_rng(seed)
    labels = np.arange(items) % 2
    images = generator.integers(0, 80, (items, 1, 8, 8))
    images[labels == 0, :, :, 3:5] += 150
    images[labels == 1, :, 3:5, :] += 150
    return images.astype(np.uint8), labels


def test_wrong_labels_have_low_values_and_looking_does_not_change_training() -> None:
    images, labels = bars(120, 0)
    wrong = np.arange(120) < 12
    given, val = np.where(wrong, 1 - labels, labels), bars(60, 1)
    found = network_tracin_values(images, given, *val, seed=3, steps=200, checkpoints=4)
    assert roc_auc_score(~wrong, found.values) > 0.9
    alone = Classifier(1, 2, seed=3)
    alone.fit(images, given, steps=200, seed=3)
    assert found.diagnostics["accuracy"] == alone.accuracy(*val)


def test_a_value_is_the_product_of_gradients_of_the_last_layer() -> None:
    images, labels = bars(12, 0)
    val_images, val_labels = bars(10, 1)
    found = network_tracin_values(images, labels, val_images, val_labels, seed=3, steps=2, checkpoints=1)
    network = Classifier(1, 2, seed=3)

    def gradient(side: np.ndarray, numbers: np.ndarray) -> torch.Tensor:
        last = network.net[-1]
        inputs = torch.from_numpy(side).float() / 127.5 - 1
        loss = torch.nn.functional.cross_entropy(network.net(inputs), torch.from_numpy(numbers))
        return torch.cat([part.flatten() for part in torch.autograd.grad(loss, [last.weight, last.bias])])

    products: list[list[float]] = []

    def look(_step: int) -> None:
        network.net.eval()
        of_val = gradient(val_images, val_labels)
        products.append([float(gradient(images[[i]], labels[[i]]) @ of_val) for i in range(12)])
        network.net.train()

    network.fit(images, labels, steps=2, seed=3, progress=look)
    np.testing.assert_allclose(found.values, products[0], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(("steps", "checkpoints"), [(1, 1), (5, 5), (7, 3)])
def test_every_part_of_the_training_has_a_checkpoint(steps: int, checkpoints: int) -> None:
    done: list[int] = []
    items = bars(12, 0)
    found = network_tracin_values(*items, *items, seed=0, steps=steps, checkpoints=checkpoints, progress=done.append)
    assert sum(done) == checkpoints
    assert np.abs(found.values).max() > 0


def test_too_few_steps_and_labels_are_refused() -> None:
    images, labels = bars(12, 0)
    with pytest.raises(InputError, match="got 2 steps for 5"):
        network_tracin_values(images, labels, images, labels, seed=0, steps=2)
    with pytest.raises(InputError, match="at least one of checkpoints"):
        network_tracin_values(images, labels, images, labels, seed=0, checkpoints=0)
    with pytest.raises(InputError, match="2 training labels and 0 such items"):
        network_tracin_values(images, labels, images, labels + 7, seed=0)
