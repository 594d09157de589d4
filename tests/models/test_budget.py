"""The formula of what a run takes, by hand; and outlines, against nets that are built."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from royalty.models.generators.budget import (
    SUSTAINED,
    Sampled,
    TrainingLength,
    budget,
    processes_on_gpu,
    training_bytes,
)
from royalty.models.generators.ddpm import DDPM
from royalty.models.generators.libraries import UNet2DConditionModel
from royalty.models.generators.outline import Outline, activations, outline_of_adapter
from royalty.models.generators.pruning import size_of
from royalty.models.generators.registry import outline_generator
from royalty.models.generators.unets import Architecture


@pytest.mark.parametrize("trainings", [7, 1])
def test_the_formula_by_hand(trainings: int) -> None:
    outline = Outline(parameters=10**6, multiply_adds=10**9, activations=10**7, frozen=10**7)
    found = budget(
        outline,
        base=TrainingLength(100, 8),
        recovery=TrainingLength(10, 8),
        coalition=TrainingLength(5, 4),
        sampled=Sampled(32, 3, passes=2),
        draws=2,
        coalitions=7,
        trainings=trainings,
        kept=0.5,
    )
    sampling = 2 * 1e9 * 32 * 3 * 2
    each = 6 * 0.5e9 * 5 * 4 * trainings / 7 + 2 * 0.5 * sampling
    once = 6 * 1e9 * 100 * 8 + 6 * 0.5e9 * 10 * 8 + sampling + 2 * 0.5 * sampling
    assert found.coalition_minutes == pytest.approx(each / SUSTAINED / 60)
    assert found.hours == pytest.approx((once + 7 * each) / SUSTAINED / 3600)
    assert found.gigabytes == pytest.approx((4 * 10**7 + 20 * 10**6 + 8 * 10**7) / 1e9)


def test_an_outline_is_of_the_net_that_is_built() -> None:
    settings = {"block_channels": [8, 16], "layers_per_block": 1, "attention": [1]}
    outline = outline_generator("ddpm", (1, 8, 8), settings)
    size = DDPM.build(Architecture(8, 1, (8, 16), 1, attention=(1,)), seed=0).size()
    assert (outline.parameters, outline.multiply_adds) == (size.parameters, size.multiply_adds)
    wider = outline_generator("ddpm", (1, 16, 16), settings)
    assert wider.parameters == outline.parameters
    assert wider.activations > 3 * outline.activations


def test_an_adapter_of_each_projection_by_hand() -> None:
    with torch.device("meta"):
        net = UNet2DConditionModel(
            sample_size=4,
            block_out_channels=(8,),
            down_block_types=("CrossAttnDownBlock2D",),
            up_block_types=("CrossAttnUpBlock2D",),
            layers_per_block=1,
            norm_num_groups=4,
            cross_attention_dim=6,
            attention_head_dim=2,
        )
    whole = size_of(net)
    outline = outline_of_adapter(net, 3, ("to_k",))
    # One transformer in the way down, one in the middle, two in the way up: of pixels to themselves, and to the text.
    assert outline.parameters == 4 * 3 * ((8 + 8) + (6 + 8))
    assert outline.frozen == whole.parameters
    assert outline.multiply_adds > whole.multiply_adds
    assert outline.operations == 4


def test_what_a_gradient_keeps_by_hand() -> None:
    with torch.device("meta"):
        net, images = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)), torch.zeros(1, 4)
    # The input of each linear layer; what the ReLU keeps is the input of the second.
    assert activations(net, (images,)) == 4 * (4 + 6)


def test_processes_on_a_gpu_by_hand() -> None:
    outline = Outline(parameters=1000, multiply_adds=1, activations=500, frozen=100)
    assert training_bytes(outline, 8) == 4 * 100 + 20 * 1000 + 8 * 500
    assert training_bytes(outline, 8, models=3) == 4 * 100 + 3 * (20 * 1000 + 8 * 500)
    gib = 2**30
    # 0.9 of 80 GiB are 72; a process of 4 GiB and 2 beside takes 6 of them.
    assert processes_on_gpu(80 * gib, 4 * gib, cores=100) == 8  # 12 fit, and 8 are the most
    assert processes_on_gpu(40 * gib, 4 * gib, cores=100) == 6
    assert processes_on_gpu(40 * gib, 4 * gib, cores=5) == 5
    assert processes_on_gpu(40 * gib, 17 * gib, cores=100) == 1  # 36 of 19 each
    assert processes_on_gpu(40 * gib, 16 * gib, cores=100) == 2
    assert processes_on_gpu(gib, 16 * gib, cores=0) == 1
