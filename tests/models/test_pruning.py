"""Structured pruning: the share that goes, what stays divisible, and which channels go first."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel, UNet2DModel
from diffusers.models.attention_processor import Attention
from torch import nn

from royalty.models.base.errors import InputError
from royalty.models.generators.pruning import fit_to_weights, prune, size_of

HEAD = 8


def net(**changed: Any) -> UNet2DModel:
    """A class-conditional net with attention of several heads."""
    options = {
        "sample_size": 8,
        "in_channels": 1,
        "out_channels": 1,
        "block_out_channels": (16, 32),
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
        "attention_head_dim": HEAD,
        "num_class_embeds": 4,
    }
    torch.manual_seed(0)
    return UNet2DModel(**options | changed)


def run(unet: UNet2DModel) -> torch.Tensor:
    return unet(torch.ones(2, 1, 8, 8), torch.zeros(2), torch.tensor([0, 1])).sample


@pytest.mark.parametrize("scope", ["layer", "global"])
@pytest.mark.parametrize("importance", ["magnitude", "taylor", "random"])
def test_the_share_of_parameters_is_met_and_widths_stay_whole(scope: Any, importance: Any) -> None:
    for ratio in (0.2, 0.6):
        unet = net()
        before = size_of(unet)
        run(unet).square().sum().backward()
        done = prune(unet, ratio, importance=importance, scope=scope)
        after = size_of(unet)
        assert done.removed == pytest.approx(1 - after.parameters / before.parameters, abs=1e-12)
        assert abs(done.removed - ratio) < 0.02
        assert after.multiply_adds < before.multiply_adds
        assert run(unet).shape == (2, 1, 8, 8)
        for module in unet.modules():
            if isinstance(module, nn.GroupNorm):
                assert module.num_channels % module.num_groups == 0
                assert module.num_channels >= 2 * module.num_groups  # a group of one forgets the time
            if isinstance(module, Attention):
                widths = {layer.out_features for layer in (module.to_q, module.to_k, module.to_v)}
                assert len(widths) == 1
                assert widths.pop() % module.heads == 0


def test_every_head_loses_its_own_least_dimensions() -> None:
    unet = net()
    attention = unet.mid_block.attentions[0]
    with torch.no_grad():
        for layer in (attention.to_q, attention.to_k, attention.to_v):
            layer.weight.fill_(1.0)
            layer.weight.view(4, HEAD, -1)[:, ::2] = 0.001  # every other dimension of each of four heads
            layer.bias.view(4, HEAD).copy_(torch.arange(4.0)[:, None] + torch.arange(HEAD) / 10)
    prune(unet, 0.6)
    kept = attention.to_q.bias.detach()
    assert len(kept) == 16
    torch.testing.assert_close(kept.view(4, 4), torch.arange(4.0)[:, None] + torch.tensor([0.1, 0.3, 0.5, 0.7]))


def test_what_does_nothing_goes_first() -> None:
    unet = net()
    conv = unet.down_blocks[0].resnets[0].conv1
    weak = torch.tensor([1, 4, 9, 12])
    with torch.no_grad():
        conv.weight[weak] *= 1e-3
        unet.down_blocks[0].resnets[0].conv2.weight[:, weak] *= 1e-3
    strong = conv.weight[[0, 2, 3, 5, 6, 7, 8, 10, 11, 13, 14, 15]].detach().clone()
    prune(unet, 0.2, scope="global")
    assert conv.out_channels == 12
    torch.testing.assert_close(conv.weight.detach(), strong)


def test_global_takes_from_where_least_is_lost() -> None:
    """Layers have to differ in how importance is spread for the two scopes to differ."""
    widths = []
    for scope in ("layer", "global"):
        unet = net()
        prune(unet, 0.4, scope=scope)
        widths.append([parameter.shape for parameter in unet.parameters()])
    assert widths[0] != widths[1]


def test_a_pruned_net_takes_its_weights_back_and_states_are_not_shared(one_thread: None) -> None:
    first, second, loaded = net(), net(), net()
    prune(first, 0.5)
    prune(net(block_out_channels=(8, 16)), 0.2)
    prune(second, 0.5)
    torch.testing.assert_close(run(first), run(second), rtol=0, atol=0)
    fit_to_weights(loaded, first.state_dict())
    loaded.load_state_dict(first.state_dict())
    torch.testing.assert_close(run(first), run(loaded), rtol=0, atol=0)


def test_a_net_with_cross_attention_whose_channels_go_with_their_gates() -> None:
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(32, 64),
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=12,
        attention_head_dim=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )
    gated = unet.mid_block.attentions[0].transformer_blocks[0].ff.net[0].proj
    width = gated.out_features // 2
    with torch.no_grad():
        gated.weight[: width // 2] *= 1e-3  # small by themselves, and of all by far the largest with their gates
        gated.weight[width : width + width // 2] *= 4
        gated.bias.copy_(torch.arange(2 * width) / width)
    done = prune(unet, 0.4)
    assert abs(done.removed - 0.4) < 0.02
    kept, gates = (gated.bias.detach() * width).round().chunk(2)
    torch.testing.assert_close(kept + width, gates, rtol=0, atol=0)
    assert set(range(width // 2)) <= set(kept.int().tolist())
    assert len(kept) < width
    made = unet(torch.ones(2, 4, 8, 8), torch.zeros(2), torch.ones(2, 3, 12)).sample
    assert made.shape == (2, 4, 8, 8)


@pytest.mark.parametrize("ratio", [0.0, 1.0, -0.2])
def test_bad_ratio_is_refused(ratio: float) -> None:
    with pytest.raises(InputError, match="between 0 and 1"):
        prune(net(), ratio)


def test_what_cannot_be_pruned_is_refused_untouched() -> None:
    unet = net()
    with pytest.raises(InputError, match="no gradients"):
        prune(unet, 0.3, importance="taylor")
    assert size_of(unet) == size_of(net())
