"""Names that a configuration accepts are names of something."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import get_args

import pytest

from royalty.infra.stores.weights import SOURCES
from royalty.models.base.choices import (
    DistanceName,
    EncoderName,
    JudgeName,
    PropertyName,
    QualityName,
    RerankName,
    weights_of,
)
from royalty.models.base.errors import InputError
from royalty.models.distances.registry import DISTANCES, build_distance
from royalty.models.encoders.registry import ENCODERS, build_encoder
from royalty.models.properties import registry as properties
from royalty.models.properties.registry import PROPERTIES, chosen_property
from royalty.models.quality.registry import QUALITIES, build_quality


def test_every_name_can_be_built_and_every_build_has_a_name() -> None:
    for names, built in ((EncoderName, ENCODERS), (DistanceName, DISTANCES), (QualityName, QUALITIES)):
        assert set(get_args(names)) == set(built)


@pytest.mark.parametrize("name", sorted({*get_args(EncoderName), *get_args(RerankName), *get_args(JudgeName)}))
def test_the_weights_of_a_choice_are_those_that_it_asks_for(name: str) -> None:
    class Asked(Exception):
        pass

    def weights(wanted: str) -> Path:
        raise Asked(wanted)

    asked: list[str] = []
    builds = [partial(build, shape=(3, 32, 32)) for build in (build_encoder, build_distance)]
    for build in (*builds, build_quality):
        try:
            build(name, weights=weights)
        except Asked as error:
            asked += error.args
        except InputError:  # no such encoder, distance or quality
            pass
    assert weights_of(name) == asked
    assert set(asked) <= set(SOURCES)


def test_every_property_can_be_built_by_every_network_on_offer() -> None:
    assert set(get_args(PropertyName)) == set(PROPERTIES)
    assert set(properties.ENCODERS) == set(ENCODERS)
    assert set(properties.DISTANCES) == set(DISTANCES)
    for known in PROPERTIES.values():
        module, _, function = known.builder.partition(":")
        assert callable(getattr(import_module(module), function))
        assert {name for weights in known.networks.values() for name in weights} <= set(SOURCES)


def test_a_property_is_checked_without_torch() -> None:
    script = "import sys, royalty.tasks.config.credit; royalty.tasks.config.credit.CreditConfig(property='fid@clip')\n"
    subprocess.run([sys.executable, "-c", f"{script}assert 'torch' not in sys.modules"], check=True)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("fed", "no property is called 'fed'; did you mean fid"),
        ("fid@", "no network for fid is called ''"),
        ("fid@clip-larg", "no network for fid is called 'clip-larg'; did you mean clip-large"),
        ("inception-score@clip", "no network for inception-score is called 'clip'; did you mean classifier"),
        ("my.metrics:", "`package.module:function`, got 'my.metrics:'"),
        ("my/metrics.py:brightness", "`package.module:function`"),
    ],
)
def test_a_property_that_there_is_not(written: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        chosen_property(written)


def test_the_title_names_a_network_that_is_not_the_default() -> None:
    assert chosen_property("fid").title == chosen_property("fid@efficientnet-lite0").title == "FID, negated"
    assert chosen_property("fid@inception-v3").title == "FID, negated, by inception-v3"
    assert chosen_property("aesthetic").weights == ("clip-large", "aesthetic")
