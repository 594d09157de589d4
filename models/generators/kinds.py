"""The kinds of generators by their names, apart from what they are made of: naming one imports no torch."""

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
"""Side of the images inside the nets of beta-VAE and DCGAN. Smaller ones, such as digits of 28, get a black border, cut
off again."""


def module_of(kind: str) -> str:
    """The module of a kind: with all that it imports, the code that a result of this kind depends on.

    Raises:
        InputError: there is no such kind; the nearest are offered.
    """
    return by_name(kind, CLASSES, "generator")[0]
