"""Inception v3 in torchvision's architecture, with random weights, read from a folder as the published ones are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.models import inception_v3 as published

from royalty.models.base.errors import InputError
from royalty.models.encoders.inception import InceptionV3, inception_v3
from royalty.models.properties.inception_score import inception_score
from royalty.models.properties.property import Context
from royalty.models.properties.registry import chosen_property


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    net = published(weights=None, init_weights=False, transform_input=True)
    path = tmp_path_factory.mktemp("weights")
    torch.save(net.state_dict(), path / "model.pth")
    return path


def test_features_and_probabilities_are_those_of_the_published_model(folder: Path) -> None:
    """Which takes images normalized by ImageNet's mean and deviation, and turns them to [-1, 1] itself."""
    encoder = inception_v3(folder)
    assert encoder.dimensions == 2048
    net = published(weights=None, init_weights=False, transform_input=True)
    net.load_state_dict(torch.load(folder / "model.pth", weights_only=True))
    assert sum(weights.numel() for weights in net.parameters()) == 27_161_264  # as torchvision states
    images = np.random.default_rng(0).integers(0, 256, size=(2, 3, 299, 299), dtype=np.uint8)
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.inference_mode():
        expected = net.eval()((torch.from_numpy(images) / 255 - mean) / std).double().softmax(dim=1).numpy()
    probabilities = encoder.probabilities(images)
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)

    def no_classifier(_images: np.ndarray) -> np.ndarray:
        raise AssertionError

    context = Context(images, no_classifier, weights=lambda name: {"inception-v3": folder}[name])
    score = chosen_property("inception-score@inception-v3").build(context).of(images)
    assert score == pytest.approx(inception_score(probabilities))


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save({"fc.weight": torch.zeros(1)}, tmp_path / "model.pth")
    with pytest.raises(InputError, match="weights of another network"):
        inception_v3(tmp_path)


def test_another_training_has_another_name() -> None:
    nets = [published(weights=None, init_weights=False, num_classes=2, aux_logits=False) for _ in range(2)]
    with torch.no_grad():
        nets[0].fc.bias += 1
    assert InceptionV3(nets[0]).name != InceptionV3(nets[1]).name
