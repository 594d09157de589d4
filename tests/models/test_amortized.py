"""One model that is told its coalition: what it is before training, what changes it, and that it hears."""

from __future__ import annotations

import numpy as np
import pytest

from royalty.models.base.errors import InputError
from royalty.models.data.items import ImageSet, item_id
from royalty.models.generators.amortized import Conditioned, Told, fit_conditioned, fractions_of
from royalty.models.generators.beta_vae import BetaVAE
from royalty.models.generators.ddpm import DDPM, Architecture
from royalty.models.generators.generator import NOTHING_ELSE, Generator
from royalty.models.generators.retraining import OTHER_SEED, coalition_models, told_outcome, whole_outcome
from royalty.models.generators.training import Training
from tests.models.test_retraining import ABSURD, ANN, EVERYBODY, MASKS, NOBODY, PAIR, TRAINING, image_set

pytestmark = pytest.mark.usefixtures("one_thread")

SEED = 3
SAMPLING = {"seed": 5, "steps": 2}
NO_ONE = np.zeros(3, dtype=bool)


@pytest.fixture(scope="module")
def start() -> DDPM:
    return DDPM.build(Architecture(8, 1, (8,), 1), seed=0)


def fitted(start: Generator, data: ImageSet, seed: int = SEED, public: np.ndarray = NO_ONE, steps: int = 2) -> bytes:
    model, losses = fit_conditioned(
        start, data, public=public, steps=steps, batch_size=4, learning_rate=0.01, ema_decay=0.9, seed=seed
    )
    assert len(losses) == steps
    return model.to_bytes()


def test_before_training_the_model_is_the_start_whatever_it_is_told(start: DDPM) -> None:
    whole = Conditioned(start, np.zeros((32, 3), np.float32))
    for mask in MASKS[[ANN, PAIR, EVERYBODY]]:
        told = Told(whole, fractions_of(image_set(), mask))
        np.testing.assert_array_equal(told.sample(9, **SAMPLING), start.sample(9, **SAMPLING))
    # A step of no length changes nothing, so that training starts there.
    model, _ = fit_conditioned(
        start, image_set(), public=NO_ONE, steps=1, batch_size=4, learning_rate=1e-30, ema_decay=0.0, seed=SEED
    )
    assert np.abs(model.projection).max() < 1e-20
    np.testing.assert_array_equal(model.told(np.ones(3) / 3).sample(9, **SAMPLING), start.sample(9, **SAMPLING))


def test_what_is_told_is_a_shift_of_the_embedding_of_time(start: DDPM) -> None:
    whole = Conditioned.from_bytes(fitted(start, image_set()), DDPM.from_bytes)
    fractions = fractions_of(image_set(), MASKS[PAIR])
    hook = whole.model.unet.time_embedding.register_forward_hook(
        lambda module, given, embedded: embedded + embedded.new_tensor(whole.projection @ fractions)
    )
    shifted = whole.sample(9, **SAMPLING)
    hook.remove()
    assert np.abs(shifted.astype(int) - whole.told(fractions).sample(9, **SAMPLING)).max() <= 1
    assert (shifted != whole.sample(9, **SAMPLING)).any()


def test_the_order_of_images_and_of_names_changes_nothing(start: DDPM) -> None:
    data = image_set()
    order = np.random.default_rng(0).permutation(len(data))
    owners = [[data.contributors[j] for j in np.flatnonzero(row)[::-1]] for row in data.membership[order]]
    again = ImageSet.merge(
        data.images[order], [data.ids[i] for i in order], data.labels[order], data.label_names, owners
    )
    assert fitted(start, again) == fitted(start, data)


def test_a_seed_is_one_model_and_another_seed_another(start: DDPM) -> None:
    before = start.to_bytes()
    first = fitted(start, image_set())
    assert fitted(start, image_set()) == first
    assert fitted(start, image_set(), seed=SEED + 1) != first
    assert fitted(start, image_set(of_cy=1)) != first
    assert start.to_bytes() == before


def test_an_image_in_common_is_divided_equally() -> None:
    # Ann has four images, Bob five, and they have one in common; Cy has five.
    data = image_set()
    np.testing.assert_allclose(fractions_of(data, MASKS[PAIR]), [0.45, 0.55, 0])
    np.testing.assert_allclose(fractions_of(data, MASKS[EVERYBODY]), [4.5 / 15, 5.5 / 15, 5 / 15])
    np.testing.assert_allclose(fractions_of(data, MASKS[ANN]), [1, 0, 0])


def test_a_saved_coalition_names_the_model_of_all(start: DDPM) -> None:
    whole = whole_outcome(start, image_set(), NO_ONE, TRAINING, SEED)
    assert isinstance(whole.model, Conditioned)
    assert len(whole.losses) == TRAINING.steps
    outcomes = coalition_models("amortized", start, image_set(), MASKS[[PAIR, NOBODY]], TRAINING, [SEED, SEED])
    told, nobody = (outcome.model for outcome in outcomes)
    assert isinstance(told, Told)
    assert nobody is not None
    assert nobody.to_bytes() == start.untrained(seed=SEED).to_bytes()
    payload = told.to_bytes()
    assert Told.is_saved_in(payload)
    assert not Told.is_saved_in(start.to_bytes())
    assert len(payload) < len(start.to_bytes()) / 10
    saved = {whole.model.digest: whole.model.to_bytes()}
    again = Told.from_bytes(payload, lambda digest: Conditioned.from_bytes(saved[digest], DDPM.from_bytes))
    np.testing.assert_array_equal(again.sample(9, **SAMPLING), told.sample(9, **SAMPLING))
    assert again.to_bytes() == payload
    assert again.asked(["any"]) == ()


def test_a_training_that_diverges_twice_leaves_all_coalitions_without_a_model(start: DDPM) -> None:
    whole = whole_outcome(start, image_set(), NO_ONE, ABSURD, SEED)
    assert (whole.model, whole.seed) == (None, SEED + OTHER_SEED)
    assert whole.failure is not None
    assert "is not finite, from two seeds" in whole.failure
    told = told_outcome(start, image_set(), MASKS[PAIR], whole.model, SEED)
    assert told.failure == "the training of the model of all coalitions diverged, from two seeds"


@pytest.mark.parametrize("kind", ["beta-vae", "conditional ddpm"])
def test_other_generators_are_refused(kind: str) -> None:
    shown = image_set().shown()
    refused: Generator = DDPM.build(Architecture(8, 1, (8,), 1, classes=2), seed=0)
    if kind == "beta-vae":
        refused = BetaVAE.for_images(shown, seed=0, resources=NOTHING_ELSE)
    with pytest.raises(InputError, match=f"this generator is a {kind}; set `coalitions: {{method: sparsified}}`"):
        fitted(refused, image_set())


def colours(of: dict[str, int], each: int = 12) -> ImageSet:
    """Images of one grey for each contributor, with a little noise so that they differ."""
    rng, images, owners = np.random.default_rng(0), [], []
    for name, grey in of.items():
        images.append(np.clip(grey + rng.integers(-3, 4, (each, 1, 8, 8)), 0, 255).astype(np.uint8))
        owners += [[name]] * each
    stacked = np.concatenate(images)
    return ImageSet.merge(stacked, [item_id(image) for image in stacked], np.zeros(len(owners)), ["any"], owners)


@pytest.mark.parametrize("public", [False, True])
def test_each_contributor_told_alone_shows_its_own_grey(start: DDPM, public: bool) -> None:
    data = colours({"dark": 40, "light": 215})
    training = Training(steps=150, batch_size=16, learning_rate=0.01, ema_decay=0.9, timesteps=1, damping=0.1)
    always = np.array([False, public])
    whole = whole_outcome(start, data, always, training, SEED).model
    masks = np.array([[True, public], [False, True]])
    means = []
    for mask in masks:
        model = told_outcome(start, data, mask, whole, SEED).model
        assert model is not None
        means.append(model.sample(32, seed=1, steps=8).mean())
    dark, light = means
    assert light > 190
    assert (90 < dark < 200) if public else (dark < 65)
