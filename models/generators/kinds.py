"""The kinds of generators by name; importing this file does not import torch.

To add a kind, write its class in a file of this folder, and its line below.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from royalty.models.base.errors import by_name


@dataclass(frozen=True)
class Kind:
    """What is known of a kind before anything heavy is imported.

    Attributes:
        builder: `module:class`; see `royalty.models.generators.registry`.
        settings: keys that the configuration accepts besides those of every generator, with their defaults: keyword
            arguments of `for_images` and `outline`, or other defaults for `steps`, `batch_size`, `learning_rate` and
            `ema_decay`. Empty for kinds whose settings have rules, and so a model in `royalty.tasks.config.generators`.
    """

    builder: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def module(self) -> str:
        return self.builder.partition(":")[0]


KINDS: Mapping[str, Kind] = {
    "ddpm": Kind("royalty.models.generators.ddpm:DDPM"),
    "latent": Kind("royalty.models.generators.latent_diffusion:LatentDiffusion"),
    "lora": Kind("royalty.models.generators.lora:LoRA"),
    "beta-vae": Kind("royalty.models.generators.beta_vae:BetaVAE"),
    "dcgan": Kind("royalty.models.generators.dcgan:DCGAN"),
}


FRAME = 32
"""Side of the images inside the nets of beta-VAE and DCGAN. Smaller images, such as digits of 28, are padded with
black, and the padding is cropped from samples."""


def module_of(kind: str) -> str:
    """The module of a kind. Results of this kind depend on its code and on all that it imports.

    Raises:
        InputError: an unknown kind; the message lists those that there are.
    """
    return by_name(kind, KINDS, "generator").module
