"""What can be chosen by name, apart from what builds it: a configuration is checked before torch is imported."""

from __future__ import annotations

from typing import Literal

GeneratorKind = Literal["ddpm", "latent", "lora"]

EncoderName = Literal[
    "efficientnet-lite0", "pixels", "clip", "clip-large", "dinov2", "blip-vqa", "alexnet", "densenet121", "inception-v3"
]

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
