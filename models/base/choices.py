"""What can be chosen by name, apart from what builds it: a configuration is checked before torch is imported."""

from __future__ import annotations

from typing import Literal

GeneratorKind = Literal["ddpm", "latent", "lora", "beta-vae", "dcgan"]

EncoderName = Literal[
    "efficientnet-lite0", "pixels", "clip", "clip-large", "dinov2", "blip-vqa", "alexnet", "densenet121", "inception-v3"
]

Representation = Literal["features", "principal", "probabilities", "both"]

DistanceName = Literal["l2", "encoder", "lpips", "dreamsim"]
RerankName = Literal["none", DistanceName]

QualityName = Literal[
    "maniqa",
    "pyiqa:maniqa",
    "pyiqa:maniqa-pipal",
    "pyiqa:maniqa-kadid",
    "pyiqa:cnniqa",
    "pyiqa:hyperiqa",
    "pyiqa:nima",
    "pyiqa:nima-koniq",
    "pyiqa:nima-spaq",
    "pyiqa:piqe",
]
JudgeName = Literal["none", "realism", QualityName]

PropertyName = Literal[
    "inception-score",
    "class-entropy",
    "fid",
    "kid",
    "precision",
    "recall",
    "cluster-entropy",
    "diversity",
    "aesthetic",
    "aesthetic-p90",
]

SchedulerName = Literal["ddim", "dpm-solver++", "pndm", "unipc"]

ImportanceName = Literal["magnitude", "taylor", "random"]
PruningScope = Literal["layer", "global"]

CorruptionName = Literal[
    "flipped-labels",
    "noise",
    "backdoor-square",
    "backdoor-watermark",
    "backdoor-blend",
    "irrelevant-class",
    "poison-frogs",
]

WITHOUT_WEIGHTS = frozenset(
    {"efficientnet-lite0", "pixels", "preact-resnet18", "none", "l2", "encoder", "realism", "pyiqa:piqe"}
)
"""Choices that need no weights, or come with them."""

WEIGHTS_OF = {"lpips": "alexnet", "maniqa": "pyiqa:maniqa"}
"""Weights that are not called as what is chosen."""


def weights_of(*chosen: str) -> list[str]:
    """Names of the weights that encoders, distances and qualities need, each once."""
    return list(dict.fromkeys(WEIGHTS_OF.get(name, name) for name in chosen if name not in WITHOUT_WEIGHTS))
