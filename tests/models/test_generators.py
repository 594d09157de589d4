"""What any kind of generator is to those who use it: built and loaded by name, trained alone or with others."""

from __future__ import annotations

import numpy as np
import pytest

from royalty.models.base.errors import InputError
from royalty.models.data.items import Shown
from royalty.models.generators.ddpm import DDPM
from royalty.models.generators.generator import NOTHING_ELSE, fit_one_by_one
from royalty.models.generators.registry import build_generator, load_generator

SHOWN = Shown(np.random.default_rng(0).integers(0, 256, (6, 1, 8, 8), dtype=np.uint8))
TRAINING = {"steps": 2, "batch_size": 4, "learning_rate": 1e-2, "ema_decay": 0.9}
SETTINGS = {"block_channels": [8, 8], "layers_per_block": 1}


def built() -> DDPM:
    model = build_generator("ddpm", SHOWN, SETTINGS, seed=0, resources=NOTHING_ELSE)
    assert isinstance(model, DDPM)
    return model


def test_what_was_saved_is_loaded_by_its_kind() -> None:
    model = built()
    loaded = load_generator(model.to_bytes(), NOTHING_ELSE)
    assert loaded.to_bytes() == model.to_bytes()
    assert loaded.size() == model.size()


def test_an_unknown_kind_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match="no generator is called 'dpm'; did you mean ddpm"):
        build_generator("dpm", SHOWN, SETTINGS, seed=0, resources=NOTHING_ELSE)


def test_one_by_one_trains_as_alone_and_reports_who_diverged() -> None:
    alone, absurd = built(), {**TRAINING, "steps": 4, "learning_rate": 1e30}
    losses = alone.fit(SHOWN.images, **TRAINING, seed=3)
    models = [built(), built()]
    fits = fit_one_by_one(models, [SHOWN, SHOWN], seeds=[3, 4], **TRAINING)
    assert fits.losses[0].tolist() == losses
    assert fits.diverged == (None, None)
    assert models[0].to_bytes() == alone.to_bytes() != models[1].to_bytes()
    (step,) = fit_one_by_one([built()], [SHOWN], seeds=[0], **absurd).diverged
    assert step is not None
