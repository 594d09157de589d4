"""Encoders: features of an image depend on the image alone, and mean something."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, load_sample_images

from royalty.models.base.errors import InputError
from royalty.models.distances.deep import EfficientNetLayers
from royalty.models.encoders.efficientnet import EfficientNetLite0
from royalty.models.encoders.encoder import Encoder, prepared
from royalty.models.encoders.network import NetworkEncoder
from royalty.models.encoders.pixels import PixelEncoder
from royalty.models.encoders.preact_resnet import PreActResNet18
from royalty.models.encoders.registry import build_encoder

SHAPE = (3, 16, 16)


@pytest.fixture(scope="module")
def lite() -> EfficientNetLite0:
    return EfficientNetLite0(size=32)


@pytest.fixture(scope="module")
def encoders(lite: EfficientNetLite0) -> list[Encoder]:
    return [lite, PixelEncoder(SHAPE), PreActResNet18(3, 4, width=4, seed=0)]


def pictures(n: int, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, size=(n, *shape), dtype=np.uint8)


def scans() -> tuple[np.ndarray, np.ndarray]:
    digits = load_digits()
    return np.round(digits.images * (255 / 16)).astype(np.uint8)[:, None], digits.target


def test_batches_do_not_matter_and_progress_adds_up(encoders: list[Encoder]) -> None:
    images = pictures(9)
    for encoder in encoders:
        done: list[int] = []
        whole = encoder.features(images, progress=done.append)
        assert whole.shape == (9, encoder.dimensions)
        assert whole.dtype == np.float32
        parts = encoder.features(images, batch_size=4, progress=done.append)
        np.testing.assert_allclose(parts, whole, atol=1e-5 * np.abs(whole).max())
        assert done == [9, 4, 4, 1]
        assert encoder.features(images[:0]).shape == (0, encoder.dimensions)


def test_greyscale_is_its_colour_copy(lite: EfficientNetLite0) -> None:
    grey = pictures(3, (1, 8, 8))
    np.testing.assert_array_equal(lite.features(grey), lite.features(grey.repeat(3, axis=1)))


def test_input_is_resized_and_normalized() -> None:
    grey = torch.full((2, 1, 48, 20), 0.5)
    shown = prepared(grey, 32)
    assert shown.shape == (2, 3, 32, 32)
    expected = (0.5 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(shown, expected.view(1, 3, 1, 1).expand(2, 3, 32, 32))
    # Antialiasing: one line in four is white; a quarter of its size is an even grey, not the black between them.
    lines = (torch.arange(128) % 4 == 0).float().expand(1, 3, 128, 128)
    even = prepared(torch.full((1, 3, 32, 32), 0.25), 32)
    torch.testing.assert_close(prepared(lines, 32)[..., 2:-2], even[..., 2:-2])


@pytest.fixture(scope="module")
def photographs() -> np.ndarray:
    """A temple and a flower, (2, 3, 427, 427)."""
    return np.stack([image[:, 106:533].transpose(2, 0, 1) for image in load_sample_images().images])


@pytest.mark.parametrize(
    ("build", "length", "projection"),
    [
        (lambda: EfficientNetLite0(), [82.33114, 83.35330], [61.00817, -32.43876]),
        (lambda: EfficientNetLite0(size=224), [18.43898, 16.25633], [18.19206, 13.25053]),
        (lambda: EfficientNetLayers(), [1.732051, 1.732051], [1.809409, -0.1535650]),
    ],
    ids=["pooled-64", "pooled-224", "layers-64"],
)
def test_features_stay_what_they_were(
    build: Callable[[], NetworkEncoder], length: list[float], projection: list[float], photographs: np.ndarray
) -> None:
    """Embeddings are kept by the encoder's name, so a name promises these numbers whatever library runs the network."""
    features = build().features(photographs).astype(float)
    direction = np.cos(np.arange(features.shape[1]))  # no two features weigh the same, so their order counts too
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), length, rtol=1e-4)
    np.testing.assert_allclose(features @ direction, projection, rtol=1e-4)


def test_imagenet_weights_recognize_a_temple_and_a_flower(photographs: np.ndarray) -> None:
    """The whole net with its last layer: wrong padding, scaling or weights would not find these classes."""
    encoder = EfficientNetLite0(size=224)
    last = encoder.net.classifier
    features = torch.from_numpy(encoder.features(photographs))
    likely = last(features).topk(2).indices
    palace, daisy = 698, 985
    assert palace in likely[0]
    assert likely[1, 0] == daisy


def test_rules_of_the_embedded_encoders(lite: EfficientNetLite0) -> None:
    with pytest.raises(InputError, match="multiple of 32, not 50"):
        EfficientNetLite0(size=50)
    with pytest.raises(InputError, match="these have 4"):
        lite.features(pictures(1, (4, 8, 8)))
    with pytest.raises(InputError, match="float64"):
        lite.features(pictures(1) / 255)
    with pytest.raises(InputError, match=r"shape \(3, 16, 16\).*\(1, 8, 8\)"):
        PixelEncoder(SHAPE).features(pictures(1, (1, 8, 8)))


def test_names_find_encoders_and_the_nearest() -> None:
    assert build_encoder("pixels", shape=SHAPE).dimensions == 768
    lite = build_encoder("efficientnet-lite0", shape=SHAPE)
    assert (lite.name, lite.dimensions) == ("efficientnet-lite0-64", 1280)
    with pytest.raises(InputError, match="did you mean efficientnet-lite0"):
        build_encoder("efficientnet_lite", shape=SHAPE)
    with pytest.raises(InputError, match="there are efficientnet-lite0, pixels, clip"):
        build_encoder("vgg", shape=SHAPE)


def test_pixels_are_pixels() -> None:
    images = pictures(3)
    np.testing.assert_allclose(PixelEncoder(SHAPE).features(images), images.reshape(3, -1) / 255, atol=1e-7)


def test_preact_resnet_learns_digits_and_round_trips() -> None:
    images, labels = scans()
    model, twin = (PreActResNet18(1, 10, width=4, seed=0) for _ in range(2))
    untrained = model.name
    done: list[int] = []
    losses = model.fit(images[:1200], labels[:1200], steps=60, batch_size=64, seed=0, progress=done.append)
    assert len(losses) == sum(done) == 60
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:10])
    probabilities = model.probabilities(images[1200:])
    assert (probabilities.argmax(axis=1) == labels[1200:]).mean() > 0.6
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    again = PreActResNet18.from_bytes(model.to_bytes())
    assert again.name == model.name != untrained == twin.name
    np.testing.assert_array_equal(again.features(images[:50]), model.features(images[:50]))
    np.testing.assert_array_equal(again.probabilities(images[:50]), model.probabilities(images[:50]))


def test_training_is_seeded_and_leaves_the_global_generator() -> None:
    images, labels = pictures(32), np.arange(32) % 4
    state = torch.random.get_rng_state()
    names = []
    for seed, flip in ((0, False), (0, False), (1, False), (0, True)):
        model = PreActResNet18(3, 4, width=4, seed=0)
        model.fit(images, labels, steps=2, batch_size=8, flip=flip, seed=seed)
        names.append(model.name)
    assert names[0] == names[1]
    assert len(set(names)) == 3
    assert torch.equal(torch.random.get_rng_state(), state)
    with pytest.raises(ValueError, match="training diverged"):
        PreActResNet18(3, 4, width=4, seed=0).fit(images, labels, steps=50, learning_rate=1e30, seed=0)
