"""Names that a configuration accepts are names of something."""

from __future__ import annotations

from typing import get_args

from models.choices import DistanceName, EncoderName, QualityName
from models.distances.registry import DISTANCES
from models.encoders.registry import ENCODERS
from models.quality.registry import QUALITIES


def test_every_name_can_be_built_and_every_build_has_a_name() -> None:
    for names, built in ((EncoderName, ENCODERS), (DistanceName, DISTANCES), (QualityName, QUALITIES)):
        assert set(get_args(names)) == set(built)
