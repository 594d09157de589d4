"""Image quality by pyiqa: its own networks, through the path that loads them, mapped to [0, 1]."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from pyiqa.archs.cnniqa_arch import CNNIQA
from pyiqa.archs.maniqa_arch import MANIQA
from pyiqa.default_model_configs import DEFAULT_CONFIGS
from sklearn.datasets import load_sample_images
from torch import nn

from royalty.infra.stores.weights import SOURCES, WeightsError, WeightsStore
from royalty.models.base.errors import InputError
from royalty.models.quality.pyiqa_metrics import PyiqaQuality
from royalty.models.quality.registry import QUALITIES, build_quality


def pictures(n: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, size=(n, *shape), dtype=np.uint8)


class Brightness(nn.Module):
    """A metric of known scores: the mean of the pixels, stretched."""

    def __init__(self, stretch: float = 1.0) -> None:
        super().__init__()
        self.stretch = nn.Parameter(torch.tensor(stretch))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.stretch * images.mean((1, 2, 3))[:, None]


@pytest.fixture
def cnniqa(tmp_path: Path) -> Callable[..., CNNIQA]:
    """CNNIQA with random weights; its checkpoint is in the test's folder, as pyiqa publishes its own."""

    def build(seed: int = 0) -> CNNIQA:
        torch.manual_seed(seed)
        net = CNNIQA(pretrained=None).eval()
        net.fc3.bias.data.fill_(0.5)
        state = {f"module.{name}": each for name, each in net.state_dict().items()}
        torch.save({"params": state}, tmp_path / "model.pth")
        return net

    return build


def test_scores_are_the_networks_own(tmp_path: Path, cnniqa: Callable[..., CNNIQA]) -> None:
    net, images = cnniqa(), pictures(11, 3, 40, 36)
    quality = build_quality("pyiqa:cnniqa", weights=lambda name: {"pyiqa:cnniqa": tmp_path}[name])
    done: list[int] = []
    scores = quality.scores(images, progress=done.append)
    with torch.inference_mode():
        expected = net(torch.from_numpy(images) / 255)[:, 0].numpy()
    assert expected.std() > 1e-4
    np.testing.assert_allclose(scores, expected.clip(0, 1), atol=1e-6)
    assert scores.dtype == np.float32
    assert done == [8, 3]
    grey = pictures(2, 1, 28, 28)
    np.testing.assert_array_equal(quality.scores(grey), quality.scores(grey.repeat(3, axis=1)))
    assert quality.scores(images[:0]).shape == (0,)


def test_a_name_stands_for_metric_and_weights(tmp_path: Path, cnniqa: Callable[..., CNNIQA]) -> None:
    names = []
    for seed in (0, 0, 1):
        cnniqa(seed)
        names.append(build_quality("pyiqa:cnniqa", weights=lambda name: tmp_path).name)
    assert names[0] == names[1] != names[2]
    assert names[0].startswith("pyiqa-cnniqa-")


@pytest.mark.parametrize(
    ("metric", "stretch", "expected"),
    [
        ("cnniqa", 1.0, [0.2, 0.8]),  # 0 to 1, roughly
        ("nima", 10.0, [0.2, 0.8]),  # 0 to 10
        ("liqe", 5.0, [0.0, 0.75]),  # 1 to 5
        ("piqe", 100.0, [0.8, 0.2]),  # 0 to 100, lower is better
        ("cnniqa", 2.0, [0.4, 1.0]),  # beyond a rough range: clipped
        ("piqe", -100.0, [1.0, 1.0]),
    ],
)
def test_declared_ranges_become_the_unit_interval(metric: str, stretch: float, expected: list[float]) -> None:
    images = np.stack([np.full((3, 8, 8), level, np.uint8) for level in (51, 204)])
    np.testing.assert_allclose(PyiqaQuality(Brightness(stretch), metric).scores(images), expected, atol=1e-6)


def test_metrics_without_a_range_or_a_score_are_refused() -> None:
    with pytest.raises(InputError, match="a range with two ends, and pyiqa declares '~0, ~' for pi"):
        PyiqaQuality(Brightness(), "pi")
    with pytest.raises(InputError, match="no metric of pyiqa is called 'piqee'; did you mean piqe"):
        PyiqaQuality(Brightness(), "piqee")
    with pytest.raises(InputError, match="no finite score for image 0"):
        PyiqaQuality(Brightness(float("nan")), "piqe").scores(pictures(1, 3, 8, 8))
    with pytest.raises(InputError, match="these have 4"):
        PyiqaQuality(Brightness(), "piqe").scores(pictures(1, 4, 8, 8))
    with pytest.raises(InputError, match="float64"):
        PyiqaQuality(Brightness(), "piqe").scores(pictures(1, 3, 8, 8) / 255)


def test_piqe_needs_no_weights_and_tells_blocks_from_a_photograph() -> None:
    photograph = Image.fromarray(load_sample_images().images[0]).resize((160, 112))
    blocks = photograph.resize((20, 14)).resize((160, 112), Image.Resampling.NEAREST)
    noise = np.random.default_rng(0).integers(0, 128, (112, 160, 3))
    noisy = Image.fromarray((np.asarray(photograph) // 2 + noise).astype(np.uint8))
    images = np.stack([np.asarray(each).transpose(2, 0, 1) for each in (photograph, blocks, noisy)])
    good, *bad = build_quality("pyiqa:piqe").scores(images)
    assert good > max(bad) + 0.1


def test_maniqa_takes_every_weight_from_its_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its class, with a narrow backbone, asks for that backbone's pretrained weights when it is built: it gets none."""
    asked: list[bool] = []

    def narrow(name: str, *, pretrained: bool) -> nn.Module:
        asked.append(pretrained)
        return timm.models.vision_transformer.VisionTransformer(patch_size=8, embed_dim=16, depth=12, num_heads=2)

    monkeypatch.setattr(timm, "create_model", narrow)
    small = {"type": "MANIQA", "embed_dim": 16, "dim_mlp": 16, "test_sample": 2, "num_tab": 1, "scale": 0.8}
    monkeypatch.setitem(DEFAULT_CONFIGS["maniqa"], "metric_opts", small)
    torch.manual_seed(0)
    net = MANIQA(**{key: value for key, value in small.items() if key != "type"}, pretrained=False).eval()
    torch.save(net.state_dict(), tmp_path / "model.pth")
    level = logging.getLogger("pyiqa").level
    quality = build_quality("maniqa", weights=lambda name: {"pyiqa:maniqa": tmp_path}[name])
    assert asked == [True, False]
    assert timm.create_model is narrow
    assert logging.getLogger("pyiqa").level == level
    images = pictures(2, 3, 32, 32)
    with torch.inference_mode():
        expected = net(torch.from_numpy(images) / 255)[:, 0].numpy()
    np.testing.assert_allclose(quality.scores(images), expected.clip(0, 1), atol=1e-5)
    assert expected.min() > 0
    torch.save({name: each for name, each in net.state_dict().items() if "vit" not in name}, tmp_path / "model.pth")
    with pytest.raises(InputError, match=r"another network.*vit"):
        build_quality("maniqa", weights=lambda name: tmp_path)


def test_a_malicious_checkpoint_is_refused_and_not_run(tmp_path: Path) -> None:
    class Malicious:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.write_text, (tmp_path / "trace", "run")

    torch.save({"params": Malicious()}, tmp_path / "model.pth")
    with pytest.raises(InputError, match="never loaded"):
        build_quality("pyiqa:cnniqa", weights=lambda name: tmp_path)
    assert not (tmp_path / "trace").exists()


def test_names_and_missing_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offered = {name for name in SOURCES if name.startswith("pyiqa:")}
    assert offered == {name for entry in QUALITIES.values() for name in entry.weights}
    with pytest.raises(WeightsError, match="royalty weights fetch pyiqa:maniqa"):
        build_quality("maniqa", weights=WeightsStore(tmp_path).locate)
    with pytest.raises(InputError, match="pyiqa:maniqa needs weights"):
        build_quality("maniqa")
    with pytest.raises(InputError, match="did you mean maniqa"):
        build_quality("maniq")
    with pytest.raises(InputError, match="no quality is called 'pyiqa:clipiqa'"):  # pyiqa has it, with further files
        build_quality("pyiqa:clipiqa", weights=lambda name: tmp_path)
    monkeypatch.setitem(sys.modules, "pyiqa.default_model_configs", None)
    with pytest.raises(InputError, match=r"package pyiqa.*royalty\[hub\]"):
        build_quality("pyiqa:piqe")
