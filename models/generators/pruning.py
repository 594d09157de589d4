"""Structured pruning of nets along torch-pruning's dependency graph, and truncation of low-rank updates."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from royalty.models.base.choices import ImportanceName, PruningScope
from royalty.models.base.errors import InputError
from royalty.models.generators.libraries import GEGLU, Attention, Downsample2D, Upsample2D, torch_pruning

SPREAD = (math.sqrt(5) - 1) / 2
"""Golden ratio: its multiples modulo 1 are evenly spread, so that neighbouring groups are not pruned at once."""

KERNEL = 8
"""Attention is fast on GPUs if the width of a head is a multiple of this."""

Removed = Mapping[tuple[nn.Module, bool], int]
"""Number of channels removed, by layer and side: True for its outputs, False for its inputs."""


@dataclass(frozen=True)
class Size:
    """Parameters, and multiply-adds of one forward pass of one image, without the attention between pixels."""

    parameters: int
    multiply_adds: int


@dataclass(frozen=True)
class Pruning:
    """The result of pruning.

    Attributes:
        removed: fraction of the parameters removed, in [0, 1).
        asked: the requested fraction. Widths are multiples of the group norms' groups, so a small net may miss it.
    """

    removed: float
    asked: float


@dataclass(frozen=True)
class _Group:
    """Coupled channels, which are removed in all layers that share them.

    Attributes:
        root: layer and function by which torch-pruning finds the group.
        width: channels of the root.
        blocks: channel indices in the root, `(blocks, quantum)`; a block is removed at once, least important first.
        importance: mean importance of each block's channels, ascending.
        touched: for each layer and side, the channels removed with one channel of the root.
    """

    root: tuple[nn.Module, Any]
    width: int
    blocks: Tensor
    importance: Tensor
    touched: Mapping[tuple[nn.Module, bool], float]


def size_of(net: nn.Module, example: Sequence[Tensor] | None = None) -> Size:
    """The size of a net.

    Args:
        example: input of the net for one image; that of a denoising U-Net by default.
    """
    multiply_adds, parameters = torch_pruning.utils.count_ops_and_params(net, tuple(example or example_of(net)))
    return Size(parameters=int(parameters), multiply_adds=int(multiply_adds))


def prune(
    net: nn.Module,
    ratio: float,
    *,
    importance: ImportanceName = "magnitude",
    scope: PruningScope = "layer",
    seed: int = 0,
    example: Sequence[Tensor] | None = None,
    ends: Sequence[nn.Module] | None = None,
) -> Pruning:
    """Remove a fraction of the parameters, in whole channels, in place.

    Channels are ranked within a group of coupled layers: by the L2 norm of their weights, by the first-order change of
    the loss (Taylor; the parameters must have gradients), or at random. A binary search finds how many blocks to
    remove, so that the fraction removed is as near to `ratio` as the widths allow: within two percentage points except
    for tiny nets. Widths stay multiples of the groups of the group norms; all heads of an attention lose the same
    number of dimensions; a channel of a GEGLU is removed with its gate. The input and output channels of the net stay.

    Args:
        ratio: fraction of all parameters to remove, in (0, 1). Removing a fraction c of the channels of every layer
            removes about 1 - (1 - c)^2 of the parameters: 0.51 for 0.3.
        scope: `layer` removes the same fraction of channels everywhere, as near as groups allow; `global` removes the
            least important channels of the whole net, by the mean importance of their block.
        seed: of random importance.
        example: inputs of the net, in order; those of a denoising U-Net by default.
        ends: layers whose outputs stay; `conv_out` of a U-Net by default.

    Raises:
        InputError: a ratio outside (0, 1), one that no widths come near, or Taylor importance without gradients.
    """
    if not 0 < ratio < 1:
        raise InputError(
            f"a pruning ratio lies between 0 and 1; got {ratio}. A ratio of 0.4 removes 40% of the parameters"
        )
    if importance == "taylor" and all(parameter.grad is None for parameter in net.parameters()):
        raise InputError(
            "Taylor importance is the product of weights and gradients of the loss, and there are no gradients. "
            "Call `backward` on the loss first, or set `importance: magnitude`"
        )
    graph = torch_pruning.DependencyGraph()
    # The library keeps state in mutable default arguments, so each call passes its own.
    with torch.enable_grad():
        graph.build_dependency(
            net,
            tuple(example or example_of(net)),
            unwrapped_parameters={},
            customized_pruners={},
            ignored_layers=[],
            ignored_params=[],
        )
    groups = _groups(net, graph, importance, seed, [net.get_submodule("conv_out")] if ends is None else ends)
    order = _order(groups, scope)
    total = _parameters(net, {})

    def fraction(blocks: int) -> float:
        return 1 - _parameters(net, _removed(groups, order[:blocks])) / total

    # The first count that reaches the ratio, or the one below it, whichever is nearer.
    enough = bisect_left(range(len(order)), ratio, key=fraction)
    count = min(
        range(max(enough - 1, 0), min(enough, len(order)) + 1), key=lambda blocks: abs(fraction(blocks) - ratio)
    )
    if count == 0:
        raise InputError(
            f"widths are multiples of the group norms' groups, so at most {fraction(len(order)):.0%} of the parameters "
            f"of this net can be removed, and a ratio of {ratio} removes none; use wider `block_channels`"
        )
    chosen: dict[int, list[int]] = defaultdict(list)
    for index, block in order[:count]:
        chosen[index] += groups[index].blocks[block].tolist()
    for index, channels in chosen.items():
        graph.get_pruning_group(*groups[index].root, sorted(channels)).prune()
    _refresh_channels(net)
    for parameter in net.parameters():
        parameter.grad = None
    return Pruning(removed=1 - _parameters(net, {}) / total, asked=ratio)


def fit_to_weights(net: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Resize every layer to the shapes of saved weights, in place, so that a pruned net can be loaded."""
    for name, module in net.named_modules():
        if f"{name}.weight" not in state:
            continue
        shape = state[f"{name}.weight"].shape
        if isinstance(module, nn.Conv2d):
            module.out_channels, module.in_channels = shape[0], shape[1] * module.groups
        elif isinstance(module, nn.ConvTranspose2d):
            module.in_channels, module.out_channels = shape[0], shape[1] * module.groups
        elif isinstance(module, nn.Linear):
            module.out_features, module.in_features = shape
        elif isinstance(module, nn.GroupNorm):
            module.num_channels = shape[0]
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.num_features = shape[0]
            for buffer in ("running_mean", "running_var"):
                setattr(module, buffer, torch.empty_like(state[f"{name}.{buffer}"]))
        elif isinstance(module, nn.Embedding):
            module.num_embeddings, module.embedding_dim = shape
        for parameter in ("weight", "bias"):
            if f"{name}.{parameter}" in state:
                setattr(module, parameter, nn.Parameter(torch.empty_like(state[f"{name}.{parameter}"])))
    _refresh_channels(net)


def _groups(
    net: nn.Module, graph: Any, importance: ImportanceName, seed: int, ends: Sequence[nn.Module]
) -> list[_Group]:
    importance_of = {
        "magnitude": torch_pruning.importance.GroupMagnitudeImportance(p=2),
        "taylor": torch_pruning.importance.GroupTaylorImportance(),
        "random": torch_pruning.importance.RandomImportance(),
    }[importance]
    heads = {
        layer: module.heads
        for module in net.modules()
        if isinstance(module, Attention)
        for layer in (module.to_q, module.to_k, module.to_v)
    }
    gated = {module.proj for module in net.modules() if isinstance(module, GEGLU)}
    layers = {module: name for name, module in net.named_modules()}
    groups = []
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for dependency_group in graph.get_all_groups(ignored_layers=list(ends)):
            group = _by_channels(dependency_group, graph, layers)
            root, width = group[0].dep, len(group[0].idxs)
            touched: dict[tuple[nn.Module, bool], float] = defaultdict(float)
            for dependency, places in group:
                if dependency.target.module in layers:
                    side = graph.is_out_channel_pruning_fn(dependency.handler)
                    touched[dependency.target.module, side] += len(places) / width
            scores = importance_of(group).float().cpu()
            parts = max((heads.get(module, 1) for module, outputs in touched if outputs), default=1)
            # With one channel per group, a group norm would cancel the convolution's bias and the time embedding.
            normed = any(isinstance(module, nn.GroupNorm) for module, _ in touched)
            halves = 2 if root.target.module in gated else 1  # a channel of a GEGLU is removed with its gate
            scores = scores.view(halves, -1).sum(0)
            quantum = _quantum(net, len(scores), parts)
            blocks, values = _blocks(scores, parts, quantum, kept=2 if normed else 1)
            blocks = torch.cat([blocks + half * len(scores) for half in range(halves)], dim=1)
            groups.append(_Group((root.target.module, root.handler), width, blocks, values, dict(touched)))
    return groups


def _by_channels(group: Any, graph: Any, layers: Mapping[nn.Module, str]) -> Any:
    """The group rooted at its layer with the fewest channels.

    Where features are reshaped into the pixels of channels, all features of a channel are then removed together.
    """
    fewest = min((item for item in group if item.dep.target.module in layers), key=lambda item: len(item.idxs))
    if len(fewest.idxs) == len(group[0].idxs):
        return group
    return graph.get_pruning_group(fewest.dep.target.module, fewest.dep.handler, list(range(len(fewest.idxs))))


def _quantum(net: Any, width: int, heads: int) -> int:
    """The number of channels in a block, which is removed at once."""
    norm_groups = int(net.config.norm_num_groups) if hasattr(net, "config") else 1
    if heads == 1 and width % norm_groups == 0:
        return norm_groups
    return heads * max(math.gcd(width // heads // 2, KERNEL), 1)


def _blocks(scores: Tensor, heads: int, quantum: int, kept: int) -> tuple[Tensor, Tensor]:
    """Blocks of channels, least important first, with equally many of each head, and the importance of each.

    The last `kept` blocks are not returned, so that they are never removed.
    """
    width = len(scores)
    order = scores.view(heads, -1).argsort(dim=1, stable=True)  # (heads, width of a head)
    places = order + torch.arange(heads)[:, None] * (width // heads)
    count = width // quantum
    blocks = places[:, : count * quantum // heads].reshape(heads, count, -1).transpose(0, 1).reshape(count, quantum)
    return blocks[:-kept], scores[blocks].mean(dim=1)[:-kept]


def _order(groups: Sequence[_Group], scope: PruningScope) -> list[tuple[int, int]]:
    """Pairs of group and block in the order of removal; blocks of a group stay in their order."""
    ranked = []
    for index, group in enumerate(groups):
        for block in range(len(group.blocks)):
            if scope == "global":
                rank = float(group.importance[: block + 1].max())
            else:  # the fraction of channels at which this block is removed, with an offset for each group
                rank = (block + 1 - index * SPREAD % 1) * group.blocks.shape[1] / group.width
            ranked.append((rank, index, block))
    return [(index, block) for _, index, block in sorted(ranked)]


def _removed(groups: Sequence[_Group], order: Sequence[tuple[int, int]]) -> Removed:
    removed: dict[tuple[nn.Module, bool], float] = defaultdict(float)
    for index, block in order:
        group = groups[index]
        for side, per_channel in group.touched.items():
            removed[side] += per_channel * len(group.blocks[block])
    return {side: round(count) for side, count in removed.items()}


def _parameters(net: nn.Module, removed: Removed) -> int:
    """Number of parameters of the net without the removed channels."""
    total = 0
    for module in net.modules():
        outputs, inputs = removed.get((module, True), 0), removed.get((module, False), 0)
        for name, parameter in module.named_parameters(recurse=False):
            shape = list(parameter.shape)
            if isinstance(module, nn.Embedding):
                shape[1] -= outputs
            elif isinstance(module, nn.ConvTranspose2d) and name == "weight":
                shape[0], shape[1] = shape[0] - inputs, shape[1] - outputs
            else:
                shape[0] -= outputs
                if name == "weight" and len(shape) > 1:
                    shape[1] -= inputs
            total += math.prod(shape)
    return total


def _refresh_channels(net: nn.Module) -> None:
    """Update the widths that the resampling layers of diffusers store and check their inputs against."""
    for module in net.modules():
        if isinstance(module, Upsample2D | Downsample2D) and isinstance(module.conv, nn.Conv2d):
            module.channels = module.conv.in_channels
            module.out_channels = module.conv.out_channels


def example_of(net: Any) -> tuple[Tensor, ...]:
    """Example inputs of a denoising U-Net: an image, a timestep, then text features or a class if it takes any."""
    shape = (1, net.config.in_channels, net.config.sample_size, net.config.sample_size)
    example = [torch.zeros(shape, device=net.device), torch.zeros(1, device=net.device)]
    if "cross_attention_dim" in net.config:
        example.append(torch.zeros((1, 2, net.config.cross_attention_dim), device=net.device))
    if getattr(net, "class_embedding", None) is not None:
        example.append(torch.zeros(1, dtype=torch.long, device=net.device))
    return tuple(example)


def truncated(a: Tensor, b: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Factors of the matrix of lower rank that is nearest to b a.

    Args:
        a, b: `(rank, in)` and `(out, rank)`, or of a convolution `(rank, in, height, width)` and `(out, rank, 1, 1)`.
    """
    left, upper = torch.linalg.qr(b.flatten(1).double())
    right, lower = torch.linalg.qr(a.flatten(1).double().T)
    u, values, v = torch.linalg.svd(upper @ lower.T)
    u, root, v = u[:, :rank], values[:rank].sqrt(), v[:rank]
    lowered = (root[:, None] * (v @ right.T)).view(rank, *a.shape[1:]), ((left @ u) * root).view(-1, rank, *b.shape[2:])
    return lowered[0].to(a.dtype), lowered[1].to(b.dtype)
