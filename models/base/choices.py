"""Closed lists of names that the code itself distinguishes.

Encoders, distances, qualities, properties and generators are in the registries of their folders.
"""

from __future__ import annotations

from typing import Literal

Estimator = Literal["constrained", "unbiased", "mixed", "stratified", "game", "auto"]
Sizes = Literal["shapley", "leverage", "border"]
Semivalue = Literal["shapley", "banzhaf", "beta"]

Representation = Literal["features", "principal", "probabilities", "both"]

SchedulerName = Literal["ddim", "dpm-solver++", "pndm", "unipc"]

ImportanceName = Literal["magnitude", "taylor", "random"]
PruningScope = Literal["layer", "global"]

SolverName = Literal["royalty", "geomloss"]
SavaForm = Literal["joint", "paper"]

Others = Literal["leave-out", "one-contributor"]
EmojiLabel = Literal["group", "subgroup"]

CorruptionName = Literal[
    "flipped-labels",
    "noise",
    "backdoor-square",
    "backdoor-watermark",
    "backdoor-blend",
    "irrelevant-class",
    "poison-frogs",
]

Refusing = Literal["ignore", "count", "leave-out", "error"]
"""What becomes of images that refuse training: manifests are not read, or they are counted, left out, or an error."""

Division = Literal["earliest", "equal"]
"""Who of a group of copies gets its value: the earliest member all of it, or every member the same."""
