"""DreamSim (Fu et al. 2023) as a distance of features: its single model on OpenCLIP's ViT-B/32.

The ensemble and the DINO model of the `dreamsim` package run code that torch.hub downloads, so they are not offered.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from royalty.models.base.checkpoints import hub_extra, weights_digest
from royalty.models.base.errors import InputError
from royalty.models.base.shapes import ImageShape
from royalty.models.distances.distance import FeatureDistance, cosine
from royalty.models.encoders.network import NetworkEncoder

KIND = "open_clip_vitb32"
SIZE = 224


class DreamSimEncoder(NetworkEncoder):
    """DreamSim's embeddings, centred and of length one.

    The whole image becomes a square of 224 pixels by bicubic interpolation, as DreamSim does; its mean and deviation
    are taken out by the net itself.

    Args:
        net: a `PerceptualModel` of the dreamsim package, built for the device that it stays on.
    """

    def __init__(self, net: Any) -> None:
        for extractor in net.extractor_list:
            _keep_projection(extractor)
        super().__init__(
            net,
            name=f"dreamsim-{'-'.join(net.model_list)}-{weights_digest(net)}",
            size=SIZE,
            read=lambda net, shown: net.embed(shown),
            mean=(0.0, 0.0, 0.0),
            std=(1.0, 1.0, 1.0),
            interpolation="bicubic",
        )

    def to(self, device: str) -> DreamSimEncoder:
        for extractor in self.net.extractor_list:
            extractor.device = device
        return super().to(device)


def dreamsim_distance(encoder: DreamSimEncoder) -> FeatureDistance:
    """1 - cosine of the embeddings; in [0, 2]."""
    return FeatureDistance("dreamsim", encoder, cosine)


def dreamsim(folder: Path) -> DreamSimEncoder:
    """From the unpacked checkpoint of DreamSim in a folder: the base model, and its LoRA adapter, merged into it.

    Raises:
        InputError: dreamsim is not installed, or the folder lacks a file or holds one that is damaged.
    """
    with hub_extra():
        from dreamsim.config import dreamsim_args
        from dreamsim.model import PerceptualModel
        from peft import PeftModel
    adapter = folder / f"{KIND}_single_lora"
    if not (adapter / "adapter_config.json").exists():  # peft would ask a hub for it
        raise InputError(f"a folder of DreamSim's weights holds {adapter.name}, and {folder} does not; fetch it anew")
    try:
        base = PerceptualModel(
            **dreamsim_args["model_config"][KIND], device="cpu", load_dir=str(folder), normalize_embeds=True
        )
        net = PeftModel.from_pretrained(base, str(adapter), torch_device="cpu").merge_and_unload()
    except (OSError, RuntimeError, KeyError, pickle.UnpicklingError) as error:
        raise InputError(
            f"{folder} holds no DreamSim, or one with more than tensors, which is never run; delete it and fetch it "
            f"anew. The cause: {str(error).splitlines()[0]}"
        ) from error
    return DreamSimEncoder(net)


def build(folder: Path, *, shape: ImageShape, device: str) -> FeatureDistance:
    """For images of any shape, which it resizes."""
    return dreamsim_distance(dreamsim(folder).to(device))


def _keep_projection(extractor: Any) -> None:
    """Make the projection a part of the net's state, so that it moves and counts with it."""
    projection = vars(extractor).pop("proj", None)
    if projection is not None:
        extractor.register_buffer("proj", projection.detach())
