"""Nothing is rounded to TF32 on the way from images to features, whatever PyTorch was set to."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from royalty.models.base.precision import full_float32
from royalty.models.data.corruptions import poison_frogs
from royalty.models.encoders.network import NetworkEncoder
from royalty.models.encoders.preact_resnet import PreActResNet18

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 3, 8, 8), dtype=np.uint8)


def settings() -> tuple[bool, str]:
    return torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()


@pytest.fixture(autouse=True)
def rounding() -> Iterator[None]:
    """PyTorch rounds products, as it does convolutions by default."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    yield
    torch.set_float32_matmul_precision(before)


class Watched(nn.Module):
    """Lets its input through, and notes what PyTorch is set to there and on the way back."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[bool, str]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(settings())
        if x.requires_grad:
            x.register_hook(lambda _: self.seen.append(settings()))
        return x


def read(net: nn.Module, shown: Tensor) -> Tensor:
    features: Tensor = net(shown).flatten(1)
    return features


def test_images_are_embedded_in_full() -> None:
    net = Watched()
    encoder = NetworkEncoder(net, name="watched", size=8, read=read)
    net.seen.clear()
    encoder.features(IMAGES, batch_size=4)
    assert net.seen == [(False, "highest")] * 2
    assert settings() == (True, "high")


def test_an_encoder_is_trained_in_full() -> None:
    encoder = PreActResNet18(3, 2, width=4, seed=0)
    net = Watched()
    encoder.trunk.insert(1, net)
    encoder.fit(IMAGES, np.arange(6) % 2, steps=2, batch_size=4, seed=0)
    assert net.seen == [(False, "highest")] * 4
    assert settings() == (True, "high")


def test_collisions_are_sought_in_full() -> None:
    net = Watched()
    encoder = NetworkEncoder(net, name="watched", size=8, read=read)
    net.seen.clear()
    poison_frogs(
        IMAGES, np.arange(6) % 2, target=IMAGES[0], poison_class=1, count=2, features=encoder.embed, steps=2, seed=0
    )
    assert len(net.seen) > 4
    assert set(net.seen) == {(False, "highest")}


def test_settings_come_back_after_an_error() -> None:
    with pytest.raises(KeyError), full_float32():
        raise KeyError
    assert settings() == (True, "high")
