"""Plant corruptions in a clean labelled set, to evaluate detection as LAVA does (Just et al. 2023, section 4 and B)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import torch
from scipy.ndimage import zoom
from torch import Tensor

from royalty.models.base.choices import CorruptionName
from royalty.models.base.errors import InputError
from royalty.models.base.precision import full_float32

Trigger = Literal["square", "watermark", "blend"]

TRIGGERS: Mapping[CorruptionName, Trigger] = {
    "backdoor-square": "square",
    "backdoor-watermark": "watermark",
    "backdoor-blend": "blend",
}
WATERMARK_OPACITY = 0.3
BLEND_OPACITY = 0.2


@dataclass(frozen=True)
class Corrupted:
    """A set with planted corruptions, in the order of the clean set.

    Attributes:
        images: uint8, `(items, channels, height, width)`.
        labels: int64, `(items,)`.
        planted: bool, `(items,)`; True if the image, the label or both differ from the clean set.
    """

    images: np.ndarray
    labels: np.ndarray
    planted: np.ndarray


def flip_labels(images: np.ndarray, labels: np.ndarray, *, share: float, seed: int) -> Corrupted:
    """Replace the labels of a fraction of the items by another label, drawn uniformly.

    Every planted label is wrong. The paper draws a random class, which may be the right one; with ten classes a tenth
    of its mislabelled items are not mislabelled.

    Args:
        share: fraction of the items, in (0, 1); rounded to a whole number of items.

    Raises:
        InputError: the share, or a set of fewer than two classes.
    """
    classes = _classes(images, labels)
    generator = np.random.default_rng(seed)
    planted = _draw(np.arange(len(labels)), share, len(labels), generator)
    shift = generator.integers(1, len(classes), size=int(planted.sum()))
    flipped = labels.astype(np.int64)
    flipped[planted] = classes[(np.searchsorted(classes, labels[planted]) + shift) % len(classes)]
    return Corrupted(images.copy(), flipped, planted)


def add_noise(images: np.ndarray, labels: np.ndarray, *, share: float, seed: int, sigma: float = 64.0) -> Corrupted:
    """Add white Gaussian noise to a fraction of the images; labels stay right.

    Args:
        share: fraction of the items, in (0, 1).
        sigma: standard deviation in grey levels of 0..255, before clipping. The paper states only that it is strong.

    Raises:
        InputError: the share, the deviation, or a set of fewer than two classes.
    """
    _classes(images, labels)
    if not 1 <= sigma < np.inf:
        raise InputError(f"sigma is at least one grey level of 255, not {sigma}; strong noise has 64 or so.")
    generator = np.random.default_rng(seed)
    planted = _draw(np.arange(len(labels)), share, len(labels), generator)
    noisy = images.copy()
    noise = generator.normal(0, sigma, size=(int(planted.sum()), *images.shape[1:]))
    noisy[planted] = (images[planted] + noise).round().clip(0, 255)
    return Corrupted(noisy, labels.astype(np.int64), planted)


def backdoor(
    images: np.ndarray, labels: np.ndarray, *, share: float, seed: int, target_label: int, trigger: Trigger
) -> Corrupted:
    """Add a trigger to images of other classes and label them as the target, so that a model learns the trigger.

    Args:
        share: fraction of all items, in (0, 1); only items of other classes are drawn.
        target_label: the label of every image with the trigger.
        trigger: see `with_trigger`.

    Raises:
        InputError: the share, more items than other classes have, an absent target, or fewer than two classes.
    """
    _check_label(target_label, _classes(images, labels))
    generator = np.random.default_rng(seed)
    planted = _draw(np.flatnonzero(labels != target_label), share, len(labels), generator)
    triggered, relabelled = images.copy(), labels.astype(np.int64)
    triggered[planted] = with_trigger(images[planted], trigger)
    relabelled[planted] = target_label
    return Corrupted(triggered, relabelled, planted)


def with_trigger(images: np.ndarray, trigger: Trigger) -> np.ndarray:
    """Add the trigger of a backdoor to images, in training as well as in an attack on the trained model.

    Args:
        trigger: `square`, a chequered patch in the lower right corner, a sixth of the side (Trojan square, Liu et
            al. 2017); `watermark`, thin white lines across the image at an opacity of 0.3 (Trojan watermark,
            ibid.); `blend`, a picture of soft patches over the image at an opacity of 0.2 (Chen et al. 2017, whose
            Hello Kitty picture cannot be distributed here).

    Returns:
        uint8, of the images' shape.
    """
    channels, height, width = images.shape[1:]
    row, column = np.indices((height, width))
    if trigger == "square":
        side = max(2, round(min(height, width) / 6))
        opacity = ((row >= height - side) & (column >= width - side)).astype(float)
        picture = 255.0 * ((row + column) % 2)
    elif trigger == "watermark":
        spacing = max(4, min(height, width) // 4)
        opacity = WATERMARK_OPACITY * (((row + column) % spacing == 0) | ((row - column) % (2 * spacing) == 0))
        picture = np.full((height, width), 255.0)
    else:
        opacity = np.full((height, width), BLEND_OPACITY)
        # The seed is fixed, so that every set and every attacked test image gets the same picture.
        patches = np.random.default_rng(0).choice([0.0, 255.0], size=(channels, 4, 4))
        picture = zoom(patches, (1, height / 4, width / 4), order=1)
    blended: np.ndarray = ((1 - opacity) * images + opacity * picture).round().astype(np.uint8)
    return blended


def poison_frogs(
    images: np.ndarray,
    labels: np.ndarray,
    *,
    target: np.ndarray,
    poison_class: int,
    count: int,
    features: Callable[[Tensor], Tensor],
    seed: int,
    steps: int = 100,
    learning_rate: float = 1.0,
    opacity: float = 0.3,
    beta: float = 0.1,
) -> Corrupted:
    """Make images of one class collide with a target image in feature space, with unchanged labels.

    Starting from a base b, an image of the poison class blended with the target t, it minimizes

        |f(x) - f(t)|^2 / |f(b) - f(t)|^2 + beta |x - b|^2

    by a forward step on the first term and a backward step on the second (Shafahi et al. 2018, algorithm 1), in pixels
    of [0, 1]. Unlike in the paper, the first term is relative, so that the same `beta` and `learning_rate` suit any
    encoder. A step that would raise the sum is not taken, and the rate of its image is halved.

    Args:
        target: uint8, `(channels, height, width)`; an image of another class, not in this set, which the model is meant
            to classify as the poison class.
        poison_class: label of the images that are changed.
        count: number of images changed; the paper changes 50 of 50,000.
        features: from float images in [0, 1], `(n, channels, height, width)`, to `(n, dimensions)`; differentiable and
            independent between images, such as the `embed` of an encoder.
        steps: of descent; each is one forward and one backward pass through `features`.
        learning_rate: of the first step.
        opacity: of the target in the base, in [0, 1): the watermark of section 3.3; 0 disables it.
        beta: weight of the distance from the base.

    Raises:
        InputError: a count that the class does not have, an absent class, an opacity out of range, a target of
            another shape, or fewer than two classes.
    """
    _check_label(poison_class, _classes(images, labels))
    bases = np.flatnonzero(labels == poison_class)
    if not 0 < count <= len(bases):
        raise InputError(f"between 1 and {len(bases)} images of label {poison_class} can be poisoned, not {count}.")
    if not 0 <= opacity < 1:
        raise InputError(f"the opacity of the target is in [0, 1), not {opacity}; 0.3 is usual.")
    if target.dtype != np.uint8 or target.shape != images.shape[1:]:
        raise InputError(
            f"the target is uint8 of the images' shape {images.shape[1:]}, not {target.dtype} of {target.shape}."
        )
    planted = np.zeros(len(labels), dtype=bool)
    planted[np.random.default_rng(seed).choice(bases, size=count, replace=False)] = True
    goal = torch.from_numpy(target).float()[None] / 255
    base = torch.lerp(torch.from_numpy(images[planted]).float() / 255, goal, opacity)  # (count, c, h, w)
    poison = _collide(base, goal, features, steps=steps, learning_rate=learning_rate, beta=beta)
    poisoned = images.copy()
    poisoned[planted] = (poison * 255).round().to(torch.uint8).numpy()
    return Corrupted(poisoned, labels.astype(np.int64), planted)


@full_float32()
def _collide(
    base: Tensor,
    goal: Tensor,
    features: Callable[[Tensor], Tensor],
    *,
    steps: int,
    learning_rate: float,
    beta: float,
) -> Tensor:
    """Forward-backward splitting from the base with a separate rate for each image; `(count, c, h, w)` in [0, 1]."""
    with torch.no_grad():
        goal_features = features(goal).to(base.device)  # (1, dimensions)
        start = (
            (features(base).to(base.device) - goal_features).square().sum(1).clamp_min(torch.finfo(torch.float32).tiny)
        )  # (count,)

    def objective(x: Tensor) -> tuple[Tensor, Tensor]:
        x = x.detach().requires_grad_()
        collision = (features(x).to(base.device) - goal_features).square().sum(1) / start
        (gradient,) = torch.autograd.grad(collision.sum(), x)
        distance = (x.detach() - base).square().flatten(1).sum(1)
        return collision.detach() + beta * distance, gradient

    x = base
    height, slope = objective(x)
    rate = torch.full((len(base), 1, 1, 1), learning_rate)
    for _ in range(steps):
        forward = x - rate * slope
        # The proximal step of beta |x - b|^2; the paper's step is that of beta / 2.
        trial = ((forward + 2 * rate * beta * base) / (1 + 2 * rate * beta)).clamp(0, 1)
        trial_height, trial_slope = objective(trial)
        lower = trial_height < height
        accepted = lower.view(-1, 1, 1, 1)
        x, slope = torch.where(accepted, trial, x), torch.where(accepted, trial_slope, slope)
        height, rate = torch.where(lower, trial_height, height), torch.where(accepted, rate, rate / 2)
    return x


def irrelevant_class(images: np.ndarray, labels: np.ndarray, *, removed: int, seed: int) -> Corrupted:
    """Remove a class, and spread its images evenly over the other classes, where they are irrelevant.

    The other labels keep their numbers, so the number of the removed class no longer occurs; a classifier of the result
    has one class less.

    Args:
        removed: the label of the class; all its images are planted.

    Raises:
        InputError: an absent class, or fewer than two others to spread it over.
    """
    classes = _classes(images, labels)
    _check_label(removed, classes)
    others = classes[classes != removed]
    if len(others) < 2:
        raise InputError(
            "an irrelevant class is spread over at least two others; there is one. Add a class, or leave this out."
        )
    planted = labels == removed
    spread = labels.astype(np.int64)
    spread[planted] = np.random.default_rng(seed).permutation(np.resize(others, int(planted.sum())))
    return Corrupted(images.copy(), spread, planted)


CORRUPTIONS: Mapping[CorruptionName, Callable[..., Corrupted]] = {
    "flipped-labels": flip_labels,
    "noise": add_noise,
    **{name: partial(backdoor, trigger=trigger) for name, trigger in TRIGGERS.items()},
    "irrelevant-class": irrelevant_class,
    "poison-frogs": poison_frogs,
}
"""All take `images, labels` and `seed=`, and further settings of their own; an unknown setting is an error."""


def _classes(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The labels that occur, sorted."""
    if images.dtype != np.uint8 or images.ndim != 4 or labels.shape != images.shape[:1]:
        raise InputError(
            f"a labelled set is uint8 images, (items, channels, height, width), with one label an item; these are "
            f"{images.dtype} of shape {images.shape} with labels of shape {labels.shape}."
        )
    classes = np.unique(labels)
    if len(classes) < 2:
        raise InputError(f"corruptions are planted among at least two classes; there is {len(classes)}. Add another.")
    return classes


def _check_label(label: int, classes: np.ndarray) -> None:
    if label not in classes:
        raise InputError(f"no item has label {label}; choose one of {', '.join(map(str, classes.tolist()))}.")


def _draw(candidates: np.ndarray, share: float, items: int, generator: np.random.Generator) -> np.ndarray:
    """Draw a fraction of all items from the candidates without replacement: bool, `(items,)`."""
    if not 0 < share < 1:
        raise InputError(f"share is the part of the items to corrupt, in (0, 1), not {share}.")
    count = round(share * items)
    if not 0 < count <= len(candidates):
        raise InputError(
            f"a share of {share} of {items} items is {count}; between 1 and {len(candidates)} can be corrupted here. "
            "Choose a share between."
        )
    planted = np.zeros(items, dtype=bool)
    planted[generator.choice(candidates, size=count, replace=False)] = True
    return planted
