"""Encoders with fetched weights: CLIP, DINOv2 and BLIP (transformers), AlexNet and DenseNet121 (torchvision).

Each encoder wraps a module, and a function loads it from a folder of weights. Nothing is downloaded here.
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

    The whole image is resized to a square by bicubic interpolation, of 224 pixels for the published CLIP, and
    standardized by CLIP's mean and deviation. Unlike CLIP's own preprocessing, images that are not square are not
    cropped.

    Args:
        net: a `CLIPVisionModelWithProjection` of transformers.
    """

    def __init__(self, net: Any) -> None:
        super().__init__(
            net,
            name=_transformer_name("clip", net),
            size=net.config.image_size,
            read=lambda net, inputs: net(pixel_values=inputs).image_embeds,
            mean=CLIP_MEAN,
            std=CLIP_STD,
            interpolation="bicubic",
        )


class Dinov2(NetworkEncoder):
    """The class token after the last norm of DINOv2 (Oquab et al. 2023).

    The whole image is resized to a square by bicubic interpolation and standardized by ImageNet's mean and deviation.

    Args:
        net: a `Dinov2Model` of transformers.
        size: side of that square in pixels, a multiple of the patch size. DINOv2 was trained at 518, and is used
            at 224.

    Raises:
        InputError: `size` is not a multiple of the patch size.
    """

    def __init__(self, net: Any, *, size: int = 224) -> None:
        if size < 1 or size % net.config.patch_size:
            raise InputError(f"the image size of DINOv2 is a multiple of {net.config.patch_size}, not {size}; try 224.")
        super().__init__(
            net,
            name=_transformer_name("dinov2", net, size),
            size=size,
            read=lambda net, inputs: net(pixel_values=inputs).pooler_output,
            interpolation="bicubic",
        )


class Blip(NetworkEncoder):
    """The class token after the last norm of the image encoder of BLIP's question-answering model (Li et al. 2022).

    The whole image is resized to a square by bicubic interpolation, of 384 pixels for the published BLIP-VQA, and
    standardized by CLIP's mean and deviation.

    Args:
        net: a `BlipVisionModel` of transformers.
    """

    def __init__(self, net: Any) -> None:
        super().__init__(
            net,
            name=_transformer_name("blip", net),
            size=net.config.image_size,
            # `pooler_output` is normalized twice.
            read=lambda net, inputs: net(pixel_values=inputs).last_hidden_state[:, 0],
            mean=CLIP_MEAN,
            std=CLIP_STD,
            interpolation="bicubic",
        )


class TorchvisionEncoder(NetworkEncoder):
    """Activations before the last layer of an ImageNet classifier of torchvision, at 224 pixels, all at least zero.

    AlexNet has 4096 numbers (its second hidden layer), DenseNet121 has 1024 (pooled).

    Args:
        net: an `AlexNet` or a `DenseNet` of torchvision; its last layer is removed.
        kind: the name of the architecture, the start of the encoder's name.
    """

    def __init__(self, net: Any, kind: str) -> None:
        if isinstance(net.classifier, nn.Sequential):
            net.classifier[-1] = nn.Identity()
        else:
            net.classifier = nn.Identity()
        super().__init__(net, name=f"{kind}-224-{weights_digest(net)}", size=224, read=_output)


def clip(folder: Path) -> Clip:
    """Load CLIP from `config.json` and `model.safetensors` or `pytorch_model.bin` in a folder.

    Raises:
        InputError: transformers is not installed, or the folder cannot be read.
    """
    with hub_extra():
        from transformers import CLIPVisionModelWithProjection
    return Clip(_transformer(CLIPVisionModelWithProjection, folder))


def dinov2(folder: Path) -> Dinov2:
    """Load DINOv2 from `config.json` and `model.safetensors` or `pytorch_model.bin` in a folder.

    Raises:
        InputError: transformers is not installed, or the folder cannot be read.
    """
    with hub_extra():
        from transformers import Dinov2Model
    return Dinov2(_transformer(Dinov2Model, folder))


def blip(folder: Path) -> Blip:
    """Load the image encoder of BLIP from `config.json` and `model.safetensors` or `pytorch_model.bin` in a folder.

    Raises:
        InputError: transformers is not installed, or the folder cannot be read.
    """
    with hub_extra():
        from transformers import BlipForQuestionAnswering
    return Blip(_transformer(BlipForQuestionAnswering, folder).vision_model)


def alexnet(folder: Path) -> TorchvisionEncoder:
    """Load AlexNet from `model.pth` in a folder.

    Raises:
        InputError: the file is missing, damaged, or not the weights of an AlexNet.
    """
    from torchvision.models import alexnet as build  # a slow import

    return TorchvisionEncoder(_loaded(build(weights=None), folder / "model.pth"), "alexnet")


def densenet121(folder: Path) -> TorchvisionEncoder:
    """Load DenseNet121 from `model.pth` in a folder, with the current layer names or those of the published file.

    Raises:
        InputError: the file is missing, damaged, or not the weights of a DenseNet121.
    """
    from torchvision.models import densenet121 as build

    return TorchvisionEncoder(_loaded(build(weights=None), folder / "model.pth"), "densenet121")


build_clip = from_folder(clip)
build_dinov2 = from_folder(dinov2)
build_blip = from_folder(blip)
build_alexnet = from_folder(alexnet)
build_densenet121 = from_folder(densenet121)


def _loaded(net: nn.Module, path: Path) -> nn.Module:
    # The published DenseNet file uses old layer names: `denselayer1.norm.1.weight` is now `denselayer1.norm1.weight`.
    state = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))\.(\d)\.", r"\1\2.", name): tensor
        for name, tensor in read_checkpoint(path).items()
    }
    load_exactly(net, state, path)
    return net


def _transformer(kind: Any, folder: Path) -> Any:
    try:
        with _silence():
            net, report = kind.from_pretrained(
                folder, local_files_only=True, dtype=torch.float32, weights_only=True, output_loading_info=True
            )
    except (OSError, ValueError, RuntimeError, SafetensorError, pickle.UnpicklingError) as error:
        raise InputError(
            f"{folder} is not a readable {kind.__name__}, or contains objects other than tensors, which are never "
            f"loaded; delete it and fetch it again. Cause: {str(error).splitlines()[0]}"
        ) from error
    if report["missing_keys"]:
        raise InputError(
            f"{folder} lacks weights of a {kind.__name__}, such as {sorted(report['missing_keys'])[0]}; delete it and "
            "fetch it again"
        )
    return net


@contextmanager
def _silence() -> Iterator[None]:
    """Suppress progress bars and warnings of transformers, such as that the text encoder of CLIP is unused."""
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
    heads = f"{net.config.num_attention_heads} heads"  # not part of the printed layers
    return f"{kind}-{size or net.config.image_size}-{weights_digest(net, heads)}"


def _output(net: Any, inputs: Tensor) -> Tensor:
    features: Tensor = net(inputs)
    return features
