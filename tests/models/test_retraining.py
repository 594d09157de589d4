"""A model for every coalition: by each method, whatever is trained beside it, and when training diverges."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, get_args

import numpy as np
import pytest
import torch

from royalty.models.data.items import ImageSet, Shown, item_id
from royalty.models.generators import ddpm
from royalty.models.generators.ddpm import DDPM, Architecture
from royalty.models.generators.generator import Fits
from royalty.models.generators.pruning import prune
from royalty.models.generators.retraining import OTHER_SEED, Outcome, coalition_models
from royalty.models.generators.stacked import fit_stacked
from royalty.models.generators.training import UNLEARNING, Method, Training

METHODS = get_args(Method)
TRAINED = ("sparsified", "finetune", "retrain")
OF_ALL = (*UNLEARNING, "amortized")
"""Methods whose models depend on images of all contributors."""
TRAINING = Training(steps=2, batch_size=4, learning_rate=0.01, ema_decay=0.9, timesteps=2, damping=0.1)
ABSURD = Training(steps=4, batch_size=4, learning_rate=1e30, ema_decay=0.9, timesteps=2, damping=0.1)

NOBODY, ANN, PAIR, EVERYBODY = 0, 1, 2, 3
MASKS = np.array([[False, False, False], [True, False, False], [True, True, False], [True, True, True]])
SEEDS = [5, 6, 7, 8]


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def start() -> DDPM:
    model = DDPM.build(Architecture(8, 1, (8,), 1), seed=0)
    prune(model.unet, 0.3)
    return model


def image_set(of_cy: int = 0) -> ImageSet:
    """Five random images each of Ann, Bob and Cy, those of Cy from a seed of their own; Ann and Bob share one."""
    images = np.concatenate(
        [np.random.default_rng(seed).integers(0, 256, (5, 1, 8, 8), dtype=np.uint8) for seed in (1, 2, 10 + of_cy)]
    )
    owners = [["ann"]] * 5 + [["bob"]] * 5 + [["cy"]] * 5
    owners[0] = ["ann", "bob"]
    return ImageSet.merge(images, [item_id(image) for image in images], np.zeros(15), ["any"], owners)


def saved(outcomes: Sequence[Outcome]) -> list[bytes]:
    assert [outcome.failure for outcome in outcomes] == [None] * len(outcomes)
    return [outcome.model.to_bytes() for outcome in outcomes if outcome.model is not None]


def models(method: Method, start: DDPM, rows: Sequence[int] = range(4), of_cy: int = 0) -> list[bytes]:
    seeds = [SEEDS[row] for row in rows]
    return saved(coalition_models(method, start, image_set(of_cy), MASKS[list(rows)], TRAINING, seeds))


@pytest.fixture(scope="module")
def together(start: DDPM) -> dict[Method, list[bytes]]:
    """The models of all coalitions, trained side by side."""
    return {method: models(method, start) for method in METHODS}


def fitted(model: DDPM, mask: np.ndarray, seed: int) -> bytes:
    """The model after training on the images of a coalition."""
    data = image_set()
    fit_stacked(
        [model],
        [data.take(data.of_coalition(mask)).shown()],
        steps=TRAINING.steps,
        batch_size=TRAINING.batch_size,
        learning_rate=TRAINING.learning_rate,
        ema_decay=TRAINING.ema_decay,
        seeds=[seed],
    )
    return model.to_bytes()


@pytest.mark.parametrize("method", METHODS)
def test_each_coalition_has_a_model_and_the_ends_are_as_documented(method: Method, start: DDPM) -> None:
    before = start.to_bytes()
    outcomes = coalition_models(method, start, image_set(), MASKS, TRAINING, SEEDS)
    found = saved(outcomes)
    assert len(set(found)) == 4
    assert [outcome.seed for outcome in outcomes] == SEEDS
    assert start.to_bytes() == before
    learned_from_nobody = start.untrained(seed=SEEDS[NOBODY]).to_bytes()
    # Ascent takes everybody out of the start; every other method has the model that learned from nobody.
    assert (found[NOBODY] == learned_from_nobody) is (method != "gradient-ascent")
    assert (found[EVERYBODY] == before) is (method in UNLEARNING)
    if method in TRAINED:
        for row in (ANN, PAIR, EVERYBODY):
            fresh = start.untrained(seed=SEEDS[row]) if method == "retrain" else DDPM.from_bytes(before)
            assert found[row] == fitted(fresh, MASKS[row], SEEDS[row])


def test_retraining_keeps_the_shape_of_the_start_and_none_of_its_weights(
    start: DDPM, together: dict[Method, list[bytes]]
) -> None:
    other = start.untrained(seed=99)
    assert models("retrain", other) == together["retrain"]
    assert models("finetune", other)[PAIR] != together["finetune"][PAIR]


@pytest.mark.parametrize("method", METHODS)
def test_company_does_not_change_a_bit(method: Method, start: DDPM, together: dict[Method, list[bytes]]) -> None:
    rows = [PAIR, ANN]
    assert models(method, start, rows) == [together[method][row] for row in rows]
    assert models(method, start, [PAIR]) == [together[method][PAIR]]


@pytest.mark.parametrize("method", METHODS)
def test_images_of_others_change_nothing_unless_the_method_uses_them(
    method: Method, start: DDPM, together: dict[Method, list[bytes]]
) -> None:
    changed = models(method, start, of_cy=1)
    same = [old == new for old, new in zip(together[method], changed, strict=True)]
    if method not in OF_ALL:
        assert same == [True, True, True, False]
    else:
        assert not same[ANN]
        assert not same[PAIR]
        assert same[EVERYBODY] is (method in UNLEARNING)


def poisoned(items: int, seeds: Collection[int], tried: list[list[int]]) -> Callable[..., Fits]:
    """Training that diverges, in truth, for a coalition with so many images from these seeds."""

    def fit(models: Sequence[DDPM], sets: Sequence[Shown], **options: Any) -> Fits:
        tried.append(list(options["seeds"]))
        for model, shown, seed in zip(models, sets, options["seeds"], strict=True):
            if len(shown.images) == items and seed in seeds:
                with torch.no_grad():
                    model.unet.conv_out.weight.fill_(1e30)
        return fit_stacked(models, sets, **options)

    return fit


@pytest.mark.parametrize("method", ["sparsified", "retrain"])
@pytest.mark.parametrize("always", [False, True])
def test_what_diverges_is_tried_once_from_another_seed(
    method: Method,
    always: bool,
    start: DDPM,
    together: dict[Method, list[bytes]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    healthy, sick = together[method], SEEDS[PAIR]
    tried: list[list[int]] = []
    (retried,) = saved(coalition_models(method, start, image_set(), MASKS[[PAIR]], TRAINING, [sick + OTHER_SEED]))
    seeds = {sick, sick + OTHER_SEED} if always else {sick}
    monkeypatch.setattr(ddpm, "fit_stacked", poisoned(10, seeds, tried))
    outcomes = coalition_models(method, start, image_set(), MASKS, TRAINING, SEEDS)
    assert tried == [SEEDS[1:], [sick + OTHER_SEED]]
    failed = outcomes[PAIR]
    assert failed.seed == sick + OTHER_SEED
    if always:
        assert failed.model is None
        assert failed.failure is not None
        assert "is not finite, from two seeds" in failed.failure
    else:
        assert saved([failed]) == [retried]
    well = [NOBODY, ANN, EVERYBODY]
    assert saved([outcomes[row] for row in well]) == [healthy[row] for row in well]
    assert [outcomes[row].seed for row in well] == [SEEDS[row] for row in well]


@pytest.mark.parametrize("method", ["finetune", "pooled", "amortized", "gradient-ascent"])
def test_an_absurd_learning_rate_fails_every_training_and_no_other_model(method: Method, start: DDPM) -> None:
    outcomes = coalition_models(method, start, image_set(), MASKS, ABSURD, SEEDS)
    untrained = EVERYBODY if method in UNLEARNING else NOBODY
    saved([outcomes[untrained]])
    for row, outcome in enumerate(outcomes):
        if row != untrained:
            assert outcome.model is None
            assert outcome.seed == SEEDS[row] + (0 if method in ("pooled", "amortized") else OTHER_SEED)
            assert outcome.failure is not None
            assert "from two seeds" in outcome.failure
