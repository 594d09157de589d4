"""Classifiers without detected items, and attacks on them."""

from typing import get_args

import numpy as np
import pytest
from sklearn.datasets import load_digits

from royalty.models.base.choices import CorruptionName
from royalty.models.data.corruptions import Corrupted, backdoor
from royalty.tasks.benchmarks.removal_worker import Retraining, attack_of

scans, labels = load_digits(return_X_y=True)
images = (scans.reshape(-1, 1, 8, 8) * 15).astype(np.uint8)
TRAIN = 1200


def retraining(corrupted: Corrupted, corruption: CorruptionName) -> Retraining:
    test, test_labels = images[TRAIN:], labels[TRAIN:]
    attack = attack_of(corruption, test, test_labels, np.arange(10))
    attacking = test[:0] if attack is None else attack.images
    flat = [each.reshape(len(each), 64) / 255 for each in (corrupted.images, test, attacking)]
    return Retraining(corrupted, *flat, test, test_labels, attack, network_steps=300, seed=0)


def test_a_backdoor_succeeds_until_its_items_are_removed(one_thread: None) -> None:
    corrupted = backdoor(images[:TRAIN], labels[:TRAIN], share=0.1, seed=0, target_label=0, trigger="square")
    trained = retraining(corrupted, "backdoor-square")
    whole, without = (trained.without(rows) for rows in (np.empty(0, dtype=int), np.flatnonzero(corrupted.planted)))
    assert [row["classifier"] for row in whole] == ["linear", "network"]
    for before, after in zip(whole, without, strict=True):
        assert before["attack_success"] > 0.4
        assert after["attack_success"] < 0.1
        assert after["accuracy"] > 0.85


@pytest.mark.slow
def test_removing_a_class_leaves_a_network_of_the_others(one_thread: None) -> None:
    clean = Corrupted(images[:TRAIN], labels[:TRAIN], np.zeros(TRAIN, dtype=bool))
    rows = retraining(clean, "flipped-labels").without(np.flatnonzero(labels[:TRAIN] == 3))
    for row in rows:
        assert 0.75 < row["accuracy"] < 1 - (labels[TRAIN:] == 3).mean() + 1e-9
        assert row["attack_success"] is None


@pytest.mark.parametrize("corruption", get_args(CorruptionName))
def test_attacks_are_unseen_images_of_other_labels(corruption: CorruptionName) -> None:
    attack = attack_of(corruption, images, labels, np.arange(10))
    if corruption == "poison-frogs":
        assert attack is not None
        assert (attack.label, len(attack.images)) == (1, 1)
        assert (attack.images[0] == images[labels == 0][0]).all()
    elif corruption.startswith("backdoor"):
        assert attack is not None
        assert (attack.label, len(attack.images)) == (0, (labels != 0).sum())
        assert (attack.images != images[labels != 0]).any()
    else:
        assert attack is None
