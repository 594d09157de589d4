"""DreamSim (Fu et al. 2023) as a distance between features: its single model based on OpenCLIP's ViT-B/32.

The ensemble and the DINO model of the `dreamsim` package are not offered, because they run code that torch.hub
downloads.
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
    """DreamSim's embeddings, centred and scaled to length one.

    The whole image is resized to 224 x 224 pixels by bicubic interpolation, as in DreamSim. The network itself
    standardizes the channels.

    Args:
        net: a `PerceptualModel` of the dreamsim package.
    """

    def __init__(self, net: Any) -> None:
        for extractor in net.extractor_list:
            _register_projection(extractor)
        super().__init__(
            net,
            name=f"dreamsim-{'-'.join(net.model_list)}-{weights_digest(net)}",
            size=SIZE,
            read=lambda net, inputs: net.embed(inputs),
            mean=(0.0, 0.0, 0.0),
            std=(1.0, 1.0, 1.0),
            interpolation="bicubic",
        )

    def to(self, device: str) -> DreamSimEncoder:
        for extractor in self.net.extractor_list:
            extractor.device = device
        return super().to(device)


def dreamsim_distance(encoder: DreamSimEncoder) -> FeatureDistance:
    """1 - cosine of the angle between the embeddings; in [0, 2]."""
    return FeatureDistance("dreamsim", encoder, cosine)


def dreamsim(folder: Path) -> DreamSimEncoder:
    """Load DreamSim from its unpacked checkpoint in a folder: the base model with its LoRA adapter merged into it.

    Raises:
        InputError: dreamsim is not installed, or a file is missing or damaged.
    """
    with hub_extra():
        from dreamsim.config import dreamsim_args
        from dreamsim.model import PerceptualModel
        from peft import PeftModel
    adapter = folder / f"{KIND}_single_lora"
    if not (adapter / "adapter_config.json").exists():  # peft would try to download a missing adapter
        raise InputError(f"the weights of DreamSim include {adapter.name}, which {folder} lacks; fetch them again")
    try:
        base = PerceptualModel(
            **dreamsim_args["model_config"][KIND], device="cpu", load_dir=str(folder), normalize_embeds=True
        )
        net = PeftModel.from_pretrained(base, str(adapter), torch_device="cpu").merge_and_unload()
    except (OSError, RuntimeError, KeyError, pickle.UnpicklingError) as error:
        raise InputError(
            f"{folder} is not a readable DreamSim checkpoint, or contains objects other than tensors, which are never "
            f"loaded; delete it and fetch it again. Cause: {str(error).splitlines()[0]}"
        ) from error
    return DreamSimEncoder(net)


def build(folder: Path, *, shape: ImageShape, device: str) -> FeatureDistance:
    """For images of any shape, which it resizes."""
    return dreamsim_distance(dreamsim(folder).to(device))


def _register_projection(extractor: Any) -> None:
    """Register the projection as a buffer, so that it moves with the network and is part of its digest."""
    projection = vars(extractor).pop("proj", None)
    if projection is not None:
        extractor.register_buffer("proj", projection.detach())
