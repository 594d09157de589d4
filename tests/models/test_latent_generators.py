"""Beta-VAE and DCGAN as generators whose contributors are credited: pruned, copied, saved and trained side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from royalty.models.base.errors import InputError
from royalty.models.data.items import Shown
from royalty.models.generators.averaging import Average
from royalty.models.generators.generator import NOTHING_ELSE
from royalty.models.generators.latent import LatentGenerator
from royalty.models.generators.registry import build_generator, load_generator, outline_generator

TRAINING: dict[str, Any] = {"steps": 2, "batch_size": 4, "learning_rate": 1e-3, "ema_decay": 0.9}
SHOWN = Shown(np.random.default_rng(0).integers(0, 256, (6, 1, 16, 16), dtype=np.uint8))
KINDS = ("beta-vae", "dcgan")
pytestmark = pytest.mark.usefixtures("one_thread")


def built(kind: str, seed: int = 0) -> LatentGenerator:
    model = build_generator(kind, SHOWN, {}, seed=seed, resources=NOTHING_ELSE)
    assert isinstance(model, LatentGenerator)
    return model


@pytest.mark.parametrize(
    ("kind", "importance", "scope"),
    [
        ("beta-vae", "magnitude", "layer"),
        ("beta-vae", "random", "global"),
        pytest.param("dcgan", "magnitude", "layer", marks=pytest.mark.slow),  # thousands of links to follow
        pytest.param("dcgan", "random", "global", marks=pytest.mark.slow),
    ],
)
def test_a_pruned_net_has_that_share_less_is_saved_and_learns_on(kind: str, importance: Any, scope: Any) -> None:
    model = built(kind)
    whole = model.size()
    pruned = model.prune(0.5, SHOWN.images, importance=importance, scope=scope)
    assert pruned.removed == pytest.approx(0.5, abs=0.02)
    assert model.size().parameters == pytest.approx(0.5 * whole.parameters, rel=0.04)
    assert model.size().multiply_adds < whole.multiply_adds
    again = load_generator(model.to_bytes(), NOTHING_ELSE)
    assert again.to_bytes() == model.to_bytes()
    for one in (model, again):
        one.fit(SHOWN.images, **TRAINING, seed=1)
    assert again.to_bytes() == model.to_bytes()
    made = model.sample(3, seed=2)
    assert made.shape == (3, 1, 16, 16)
    fresh = model.untrained(seed=5)
    assert fresh.size() == model.size()
    np.testing.assert_array_equal(fresh.sample(3, seed=2), model.untrained(seed=5).sample(3, seed=2))
    assert (fresh.sample(3, seed=2) != made).any()


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_model_learns_beside_others_is_what_it_learns_alone(kind: str) -> None:
    start, alone = built(kind), built(kind)
    others = Shown(SHOWN.images[:3])
    alone.fit(others.images, **TRAINING, seed=7)
    together = [start.copy(), start.copy()]
    fits = start.fit_many(together, [SHOWN, others], seeds=[6, 7], **TRAINING)
    assert fits.diverged == (None, None)
    assert together[1].to_bytes() == alone.to_bytes() != together[0].to_bytes()
    assert start.to_bytes() == built(kind).to_bytes()
    wild = start.fit_many([start.copy()], [SHOWN], seeds=[0], **TRAINING | {"learning_rate": 1e20, "steps": 9})
    assert wild.diverged != (None,)


@pytest.mark.parametrize("kind", KINDS)
def test_an_outline_is_of_the_model(kind: str) -> None:
    outline, size = outline_generator(kind, (1, 16, 16), {}), built(kind).size()
    assert (outline.parameters, outline.multiply_adds) == (size.parameters, size.multiply_adds)
    assert outline.activations > 0


@pytest.mark.parametrize("kind", KINDS)
def test_the_average_of_weights_is_kept(kind: str) -> None:
    last, mean = built(kind), built(kind)
    for model, decay in ((last, 0.0), (mean, 0.9)):
        model.fit(SHOWN.images, **TRAINING | {"ema_decay": decay, "steps": 1}, seed=1)
    assert last.to_bytes() == mean.to_bytes()  # of one step
    for model, decay in ((last, 0.0), (mean, 0.9)):
        model.fit(SHOWN.images, **TRAINING | {"ema_decay": decay, "steps": 3}, seed=1)
    assert last.to_bytes() != mean.to_bytes()


def test_an_average_decays_and_forgets_what_was_before() -> None:
    weight = torch.full((1,), 100.0)
    average = Average([weight], 0.15)
    for value in (1.0, 2.0, 4.0):
        weight.fill_(value)
        average.add()
    average.keep()
    assert weight.item() == pytest.approx(0.15 * (0.15 * 1 + 0.85 * 2) + 0.85 * 4)


def test_refusals_say_what_to_do() -> None:
    for kind in KINDS:
        with pytest.raises(InputError, match=f"a {kind} is pruned by magnitude or at random; got taylor"):
            built(kind).prune(0.5, SHOWN.images, importance="taylor")
