"""Encoders whose weights are fetched: CLIP, DINOv2 and BLIP (transformers), AlexNet and DenseNet121 (torchvision).

Each takes a module, and has a function that reads one from a folder of weights; nothing is downloaded here.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from royalty.models.base.checkpoints import hub_extra, load_exactly, read_checkpoint, weights_digest
from royalty.models.base.errors import InputError
from royalty.models.encoders.network import NetworkEncoder, from_folder

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


class Clip(NetworkEncoder):
    """Projected image features of CLIP (Radford et al. 2021).

    The whole image becomes a square by bicubic interpolation, of 224 pixels in CLIP as published, with CLIP's own
    mean and deviation; CLIP's own preparation would crop the sides of an image that is not square.

    Args:
        net: a `CLIPVisionModelWithProjection` of transformers.
    """

    def __init__(self, net: Any) -> None:
        super().__init__(
            net,
            name=_transformer_name("clip", net),
            size=net.config.image_size,
            read=lambda net, shown: net(pixel_values=shown).image_embeds,
            mean=CLIP_MEAN,
            std=CLIP_STD,
            interpolation="bicubic",
        )


class Dinov2(NetworkEncoder):
    """The class token after the last norm of DINOv2 (Oquab et al. 2023).

    The whole image becomes a square by bicubic interpolation, with ImageNet's mean and deviation.

    Args:
        net: a `Dinov2Model` of transformers.
        size: side of that square, a multiple of the patch size. DINOv2 learned at 518 and is used at 224.

    Raises:
        InputError: the size is no multiple of the patch size.
    """

    def __init__(self, net: Any, *, size: int = 224) -> None:
        if size < 1 or size % net.config.patch_size:
            raise InputError(
                f"DINOv2 takes images whose side is a multiple of {net.config.patch_size}, not {size}; try 224."
            )
        super().__init__(
            net,
            name=_transformer_name("dinov2", net, size),
            size=size,
            read=lambda net, shown: net(pixel_values=shown).pooler_output,
            interpolation="bicubic",
        )


class Blip(NetworkEncoder):
    """The class token after the last norm of BLIP's image side (Li et al. 2022), as its model of questions learned it.

    The whole image becomes a square by bicubic interpolation, of 384 pixels in BLIP-VQA as published, with CLIP's mean
    and deviation.

    Args:
        net: a `BlipVisionModel` of transformers.
    """

    def __init__(self, net: Any) -> None:
        super().__init__(
            net,
            name=_transformer_name("blip", net),
            size=net.config.image_size,
            read=lambda net, shown: net(pixel_values=shown).last_hidden_state[:, 0],  # `pooler_output` is normed twice
            mean=CLIP_MEAN,
            std=CLIP_STD,
            interpolation="bicubic",
        )


class TorchvisionEncoder(NetworkEncoder):
    """Activations before the last layer of an ImageNet classifier of torchvision, at 224 pixels, none below zero.

    That is 4096 numbers of AlexNet (its second hidden layer) and 1024 of DenseNet121 (pooled).

    Args:
        net: an `AlexNet` or a `DenseNet` of torchvision; its last layer is taken off.
        kind: what to call it.
    """

    def __init__(self, net: Any, kind: str) -> None:
        if isinstance(net.classifier, nn.Sequential):
            net.classifier[-1] = nn.Identity()
        else:
            net.classifier = nn.Identity()
        super().__init__(net, name=f"{kind}-224-{weights_digest(net)}", size=224, read=_output)


def clip(folder: Path) -> Clip:
    """From `config.json` and `model.safetensors`, or `pytorch_model.bin`, of a folder.

    Raises:
        InputError: transformers is not installed, or the folder cannot be read.
    """
    with hub_extra():
        from transformers import CLIPVisionModelWithProjection
    return Clip(_transformer(CLIPVisionModelWithProjection, folder))


def dinov2(folder: Path) -> Dinov2:
    """From `config.json` and `model.safetensors`, or `pytorch_model.bin`, of a folder.

    Raises:
        InputError: transformers is not installed, or the folder cannot be read.
    """
    with hub_extra():
        from transformers import Dinov2Model
    return Dinov2(_transformer(Dinov2Model, folder))


def blip(folder: Path) -> Blip:
    """From `config.json` and `model.safetensors`, or `pytorch_model.bin`, of a folder: the image side of a BLIP.

    Raises:
        InputError: transformers is not installed, or the folder cannot be read.
    """
    with hub_extra():
        from transformers import BlipForQuestionAnswering
    return Blip(_transformer(BlipForQuestionAnswering, folder).vision_model)


def alexnet(folder: Path) -> TorchvisionEncoder:
    """From `model.pth` of a folder.

    Raises:
        InputError: the file is missing, damaged, or holds more than the weights of an AlexNet.
    """
    from torchvision.models import alexnet as build  # takes a second to import

    return TorchvisionEncoder(_loaded(build(weights=None), folder / "model.pth"), "alexnet")


def densenet121(folder: Path) -> TorchvisionEncoder:
    """From `model.pth` of a folder, by today's names of layers or those of the published file.

    Raises:
        InputError: the file is missing, damaged, or holds more than the weights of a DenseNet121.
    """
    from torchvision.models import densenet121 as build

    return TorchvisionEncoder(_loaded(build(weights=None), folder / "model.pth"), "densenet121")


build_clip = from_folder(clip)
build_dinov2 = from_folder(dinov2)
build_blip = from_folder(blip)
build_alexnet = from_folder(alexnet)
build_densenet121 = from_folder(densenet121)


def _loaded(net: nn.Module, path: Path) -> nn.Module:
    # DenseNet's published file is older than its names: `denselayer1.norm.1.weight` is now `denselayer1.norm1.weight`.
    renamed = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))\.(\d)\.", r"\1\2.", name): tensor
        for name, tensor in read_checkpoint(path).items()
    }
    load_exactly(net, renamed, path)
    return net


def _transformer(kind: Any, folder: Path) -> Any:
    try:
        with _silence():
            net, report = kind.from_pretrained(
                folder, local_files_only=True, dtype=torch.float32, weights_only=True, output_loading_info=True
            )
    except (OSError, ValueError, RuntimeError, SafetensorError, pickle.UnpicklingError) as error:
        raise InputError(
            f"{folder} holds no {kind.__name__}, or one with more than tensors, which is never run; delete it and "
            f"fetch it anew. The cause: {str(error).splitlines()[0]}"
        ) from error
    if report["missing_keys"]:
        raise InputError(
            f"{folder} lacks weights of a {kind.__name__}, {sorted(report['missing_keys'])[0]} among them; "
            "delete it and fetch it anew"
        )
    return net


@contextmanager
def _silence() -> Iterator[None]:
    """transformers draws a bar, and reports the text side of CLIP as left over, which it is."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _transformer_name(kind: str, net: Any, size: int | None = None) -> str:
    heads = f"{net.config.num_attention_heads} heads"  # which no layer prints
    return f"{kind}-{size or net.config.image_size}-{weights_digest(net, heads)}"


def _output(net: Any, shown: Tensor) -> Tensor:
    features: Tensor = net(shown)
    return features
