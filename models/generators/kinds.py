"""The kinds of generators and the modules that define them; importing this file does not import torch."""

from __future__ import annotations

from collections.abc import Mapping

from royalty.models.base.choices import GeneratorKind
from royalty.models.base.errors import by_name

CLASSES: Mapping[GeneratorKind, tuple[str, str]] = {
    "ddpm": ("royalty.models.generators.ddpm", "DDPM"),
    "latent": ("royalty.models.generators.latent_diffusion", "LatentDiffusion"),
    "lora": ("royalty.models.generators.lora", "LoRA"),
    "beta-vae": ("royalty.models.generators.beta_vae", "BetaVAE"),
    "dcgan": ("royalty.models.generators.dcgan", "DCGAN"),
}
"""Module and class of each kind; see `royalty.models.generators.registry`."""


FRAME = 32
"""Side of the images inside the nets of beta-VAE and DCGAN. Smaller images, such as digits of 28, are padded with
black, and the padding is cropped from samples."""


def module_of(kind: str) -> str:
    """The module of a kind. Results of this kind depend on its code and on all that it imports.

    Raises:
        InputError: an unknown kind; the message lists the nearest ones.
    """
    return by_name(kind, CLASSES, "generator")[0]
