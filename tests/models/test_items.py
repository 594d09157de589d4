"""Items, copies, coalitions and splits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from royalty.models.base.errors import InputError
from royalty.models.data.digits import BLURRED, COPIER, MISLABELLED, NOISE, digits
from royalty.models.data.items import ImageSet, item_id, split_items

DIGITS = {
    "contributors": 12,
    "shares": "dirichlet",
    "concentration": 0.5,
    "blurred_sigma": 1.0,
    "mislabelled": False,
    "planted": False,
    "validation": 0.1,
    "classifier": 0.25,
    "seed": 0,
}


def image_set(owners: list[list[str]], copies_of: dict[int, int] | None = None) -> ImageSet:
    images = np.random.default_rng(0).integers(0, 256, (len(owners), 1, 4, 4), dtype=np.uint8)
    for copy, original in (copies_of or {}).items():
        images[copy] = images[original]
    ids = [item_id(image) for image in images]
    return ImageSet.merge(images, ids, np.arange(len(owners)) % 2, ["even", "odd"], owners)


def test_id_covers_pixels_and_shape() -> None:
    pixels = np.arange(16, dtype=np.uint8).reshape(4, 4)
    assert item_id(pixels) == item_id(pixels.copy()) != item_id(pixels.reshape(2, 8))
    assert item_id(pixels.T) != item_id(pixels)


def test_copies_become_one_item_of_both() -> None:
    items = image_set([["ann"], ["bob"], ["cy"], ["bob", "cy"]], copies_of={1: 0})
    assert len(items) == 3
    assert items.contributors == ("ann", "bob", "cy")
    shared = items.membership.sum(axis=1) > 1
    assert sorted(map(tuple, items.membership[shared].tolist())) == [(False, True, True), (True, True, False)]
    assert len(items.of_coalition(np.array([True, False, False]))) == 1
    assert len(items.of_coalition(np.array([False, True, False]))) == 2
    assert len(items.of_coalition(np.zeros(3, bool))) == 0
    assert list(items.ids) == sorted(items.ids)


def test_digest_changes_with_own_images_alone() -> None:
    before = image_set([["ann"], ["bob"], ["ann"]])
    after = image_set([["ann"], ["bob"], ["ann"], ["bob"]])
    assert before.digest_of(0) == after.digest_of(0)
    assert before.digest_of(1) != after.digest_of(1)


def test_texts_go_with_their_items_and_into_the_digest_of_who_wrote_them() -> None:
    images = np.arange(3, dtype=np.uint8).reshape(3, 1, 1, 1)
    ids = [item_id(image) for image in images]

    def captioned(texts: list[str]) -> ImageSet:
        return ImageSet.merge(images, ids, np.zeros(3), ["any"], [["ann"], ["bob"], ["bob"]], texts)

    items = captioned(["zero", "one", "two"])
    assert items.texts is not None
    assert [items.texts[row] for row in np.argsort(items.images.ravel())] == ["zero", "one", "two"]
    rows = np.array([2, 0])
    assert items.take(rows).shown().texts == (items.texts[2], items.texts[0])
    assert ImageSet.from_bytes(items.to_bytes()).texts == items.texts
    changed = captioned(["zero", "one", "a two"])
    assert changed.digest_of(0) == items.digest_of(0)
    assert changed.digest_of(1) != items.digest_of(1)


def test_bytes_round_trip() -> None:
    items = image_set([["ann"], ["zoë", "ann"]])
    again = ImageSet.from_bytes(items.to_bytes())
    assert again.to_bytes() == items.to_bytes()
    assert (again.ids, again.contributors, again.label_names) == (items.ids, items.contributors, items.label_names)
    np.testing.assert_array_equal(again.images, items.images)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), count=st.integers(24, 80), players=st.integers(2, 6))
def test_splits_are_disjoint_and_leave_everybody_something(seed: int, count: int, players: int) -> None:
    items = image_set([[f"c{i % players}"] for i in range(count)] + [["a"], ["a"], ["b"], ["b"], ["a"], ["b"]])
    splits = split_items(items, validation=0.2, classifier=0.2, seed=seed)
    parts = [set(part.ids) for part in (splits.train, splits.validation, splits.classifier)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == len(items)
    assert splits.train.membership.any(axis=0).all()
    for part in (splits.train, splits.validation, splits.classifier):
        assert set(part.labels.tolist()) == {0, 1}


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000))
def test_what_one_contributor_changes_moves_nobody_elses_items(seed: int) -> None:
    owners = [[f"c{i % 4}"] for i in range(400)]  # so many that no part is without a label
    before = split_items(image_set(owners), validation=0.1, classifier=0.25, seed=seed)
    after = split_items(image_set([*owners, *[["c3"]] * 60]), validation=0.1, classifier=0.25, seed=seed)
    assert [before.train.digest_of(member) for member in range(3)] == [after.train.digest_of(m) for m in range(3)]
    assert before.train.digest_of(3) != after.train.digest_of(3)


def test_label_with_too_few_images_is_refused() -> None:
    with pytest.raises(InputError, match=r"label 'even' has too few for that: 2, counting copies once"):
        split_items(image_set([["a"], ["b"], ["a"]]), validation=0.3, classifier=0.3, seed=0)


def test_digits_have_a_blurred_scanner() -> None:
    splits, sharp = digits(**DIGITS), digits(**DIGITS | {"blurred_sigma": 0.0})
    train = splits.train
    assert len(train.contributors) == 12
    assert BLURRED in train.contributors
    assert len(splits.train) + len(splits.validation) + len(splits.classifier) == 1797
    blurred = train.membership[:, train.contributors.index(BLURRED)]
    others = set(train.take(np.flatnonzero(~blurred)).ids)
    assert others < set(sharp.train.ids)
    assert not set(train.take(np.flatnonzero(blurred)).ids) & set(sharp.train.ids)
    assert train.to_bytes() == digits(**DIGITS).train.to_bytes()


def test_planted_contributors() -> None:
    plain, train = digits(**DIGITS).train, digits(**DIGITS | {"planted": True}).train
    assert set(train.contributors) - set(plain.contributors) == {NOISE, COPIER}
    copier = train.membership[:, train.contributors.index(COPIER)]
    assert (train.membership[copier].sum(axis=1) == 2).all()
    noise = train.membership[:, train.contributors.index(NOISE)]
    assert noise.sum() > 0
    assert abs(train.images[noise].astype(float).mean() - 127.5) < 10
    assert len(train) == len(plain) + noise.sum()


def test_mislabelled_contributor_has_the_same_images() -> None:
    plain, train = digits(**DIGITS).train, digits(**DIGITS | {"mislabelled": True}).train
    assert train.ids == plain.ids
    wrong = train.membership[:, train.contributors.index(MISLABELLED)]
    assert (train.labels[~wrong] == plain.labels[~wrong]).all()
    assert (train.labels[wrong] == plain.labels[wrong]).mean() < 0.3


def test_by_class_gives_each_digit_to_one() -> None:
    train = digits(**DIGITS | {"shares": "by-class", "contributors": 10}).train
    assert len(train.contributors) == 10
    owner = train.membership.argmax(axis=1)
    assert all(len(set(train.labels[owner == index].tolist())) == 1 for index in range(10))
