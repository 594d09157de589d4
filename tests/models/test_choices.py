"""Names that a configuration accepts are names of something."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping

import pytest

from royalty.infra.stores.weights import SOURCES
from royalty.models.base.errors import InputError
from royalty.models.base.registry import Entry, load, weights_of
from royalty.models.distances.registry import DISTANCES
from royalty.models.encoders.registry import ENCODERS
from royalty.models.generators.kinds import KINDS
from royalty.models.properties.registry import PROPERTIES, chosen_property
from royalty.models.quality.registry import QUALITIES


@pytest.mark.parametrize("registry", [ENCODERS, DISTANCES, QUALITIES], ids=["encoders", "distances", "qualities"])
def test_every_name_has_a_builder_and_weights_that_can_be_fetched(registry: Mapping[str, Entry]) -> None:
    for entry in registry.values():
        assert callable(load(entry.builder))
    assert set(weights_of(registry.values())) <= set(SOURCES)


def test_every_kind_of_generator_has_a_class() -> None:
    for name, kind in KINDS.items():
        assert vars(load(kind.builder))["KIND"] == name


def test_every_property_can_be_built_by_every_network_on_offer() -> None:
    assert chosen_property("diversity").network == "encoder"
    for known in PROPERTIES.values():
        for path in (known.builder, *(entry.builder for entry in known.networks.values())):
            assert callable(load(path))
        assert set(weights_of(known.networks.values())) <= set(SOURCES)


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
