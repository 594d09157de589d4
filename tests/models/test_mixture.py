"""Mixtures of models: whose images they are, images in common, and members whose training failed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from royalty.models.generators.ddpm import DDPM, Architecture
from royalty.models.generators.mixture import Mixture, images_of_members
from royalty.models.generators.retraining import coalition_models, pooled_outcome
from tests.models.test_retraining import ANN, EVERYBODY, MASKS, NOBODY, PAIR, TRAINING, image_set, saved

pytestmark = pytest.mark.usefixtures("one_thread")

SEED, IMAGES = 3, 40
ALONE = np.eye(3, dtype=bool)
SAMPLING = {"seed": 5, "steps": 2}


@pytest.fixture(scope="module")
def start() -> DDPM:
    return DDPM.build(Architecture(8, 1, (8,), 1), seed=0)


@pytest.fixture(scope="module")
def alone(start: DDPM) -> list[DDPM]:
    """The models of Ann, Bob and Cy alone."""
    outcomes = coalition_models("sparsified", start, image_set(), ALONE, TRAINING, [SEED] * 3)
    return [outcome.model for outcome in outcomes if isinstance(outcome.model, DDPM)]


def pooled(start: DDPM, masks: np.ndarray, seed: int = SEED) -> list[Mixture]:
    outcomes = coalition_models("pooled", start, image_set(), masks, TRAINING, [seed] * len(masks))
    return [outcome.model for outcome in outcomes if isinstance(outcome.model, Mixture)]


def test_a_coalition_of_one_makes_the_images_of_its_member(start: DDPM, alone: list[DDPM]) -> None:
    for mixture, model in zip(pooled(start, ALONE), alone, strict=True):
        np.testing.assert_array_equal(mixture.sample(9, **SAMPLING), model.sample(9, **SAMPLING))


def test_each_image_is_one_of_a_member_and_members_have_their_shares(start: DDPM, alone: list[DDPM]) -> None:
    pair, everybody = pooled(start, MASKS[[PAIR, EVERYBODY]])
    made = np.stack([model.sample(IMAGES, **SAMPLING) for model in alone])  # (3, images, ...)
    # Ann has four images, Bob five, and they have one in common; Cy has five.
    for mixture, shares in ((pair, [0.45, 0.55, 0]), (everybody, [4.5 / 15, 5.5 / 15, 5 / 15])):
        mixed = mixture.sample(IMAGES, **SAMPLING)
        drawn_by = (made == mixed).all(axis=(2, 3, 4))  # (3, images)
        assert (drawn_by.sum(axis=0) == 1).all()
        np.testing.assert_allclose(drawn_by.sum(axis=1), IMAGES * np.array(shares), atol=1)
        np.testing.assert_array_equal(mixture.pick(made[: len(mixture.parts)], seed=SAMPLING["seed"]), mixed)


@given(st.integers(1, 200), st.lists(st.floats(0.01, 1e6), min_size=1, max_size=6), st.integers(0, 5))
def test_counts_are_shares_to_within_one(n: int, images: list[float], seed: int) -> None:
    rows = [np.full(n, part) for part in range(len(images))]
    picked = Mixture([None] * len(images), images).pick(rows, seed=seed)  # type: ignore[list-item]
    counts = np.bincount(picked, minlength=len(images))
    assert np.abs(counts - n * np.array(images) / sum(images)).max() <= 1 + 1e-6


def test_a_saved_mixture_names_its_parts(start: DDPM, alone: list[DDPM]) -> None:
    (mixture,) = pooled(start, MASKS[[EVERYBODY]])
    store = dict(zip(mixture.digests, alone, strict=True))
    payload = mixture.to_bytes()
    assert Mixture.is_saved_in(payload)
    assert not Mixture.is_saved_in(start.to_bytes())
    assert len(payload) < len(start.to_bytes()) / 10
    again = Mixture.from_bytes(payload, store.__getitem__)
    np.testing.assert_array_equal(again.sample(9, **SAMPLING), mixture.sample(9, **SAMPLING))
    assert again.to_bytes() == payload
    assert again.asked(["any"]) == ()


def test_each_training_seed_has_parts_of_its_own(start: DDPM) -> None:
    masks = MASKS[[ANN, PAIR, PAIR, NOBODY]]
    found = saved(coalition_models("pooled", start, image_set(), masks, TRAINING, [1, 1, 2, 1]))
    assert found[1] != found[2]
    assert found[2] == pooled(start, MASKS[[PAIR]], seed=2)[0].to_bytes()
    assert found[3] == start.untrained(seed=1).to_bytes()


def test_a_coalition_with_a_member_whose_training_failed_has_no_model(start: DDPM, alone: list[DDPM]) -> None:
    parts = {"ann": alone[0], "bob": None}
    assert pooled_outcome(start, image_set(), MASKS[ANN], parts, SEED).model is not None
    failed = pooled_outcome(start, image_set(), MASKS[PAIR], parts, SEED)
    assert failed.model is None
    assert failed.failure == "the training of bob alone diverged, from two seeds"


@given(arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 4))))
def test_images_in_common_are_divided_equally(membership: np.ndarray) -> None:
    images = images_of_members(membership)
    assert images.sum() == pytest.approx(membership.any(axis=1).sum())
    assert (images <= membership.sum(axis=0) + 1e-9).all()
    copied = images_of_members(np.column_stack([membership, membership[:, 0]]))
    assert copied[0] == copied[-1], "a copier has as much as the copied"
    unshared = membership & (membership.sum(axis=1) == 1)[:, None]
    np.testing.assert_allclose(images_of_members(unshared), unshared.sum(axis=0))
