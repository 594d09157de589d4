"""Models of coalitions that mix the images of models of single contributors."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from royalty.models.base.serialization import description_of, pack, unpack
from royalty.models.generators.generator import Sampler


class Mixture:
    """Draws each image from the model of one member: p_S = sum_i (n_i / n_S) p_i for members with n_i images.

    Images at one position come from one noise and, of a conditional generator, show one class, whoever draws them.
    Mixtures therefore share the images of their parts: rows that are computed once for each part serve every coalition.

    Args:
        parts: the model of each member alone, at least one.
        images: n_i of each member, above 0; see `images_of_members`.
    """

    KIND: ClassVar[str] = "mixture"

    def __init__(self, parts: Sequence[Sampler], images: Sequence[float]) -> None:
        self.parts, self.images = tuple(parts), tuple(images)

    @cached_property
    def digests(self) -> tuple[str, ...]:
        """SHA-256 of each part as it is saved."""
        return tuple(hashlib.sha256(part.to_bytes()).hexdigest() for part in self.parts)

    def sample(self, n: int, *, seed: int, **settings: Any) -> np.ndarray:
        """Generate images: see `Generator.sample`. Takes as long as sampling n images of each part.

        Returns:
            uint8, `(n, channels, height, width)`.
        """
        return self.pick([part.sample(n, seed=seed, **settings) for part in self.parts], seed=seed)

    def pick(self, rows: Sequence[np.ndarray], *, seed: int) -> np.ndarray:
        """The rows of this model's images, from the rows of as many images of each part.

        The places on the unit interval that decide whose image is taken are one stratified draw, the same for all
        coalitions. The number of a member's images is n_i / n_S of all, to within one.

        Args:
            rows: for each part `(n, ...)`, of images sampled with `seed`.

        Returns:
            `(n, ...)`.
        """
        n = len(rows[0])
        places = (np.random.default_rng(seed).permutation(n) + 0.5) / n
        ends = np.cumsum(self.images) / np.sum(self.images)
        drawn_by = np.minimum(np.searchsorted(ends, places, side="right"), len(ends) - 1)
        return np.stack([rows[part][place] for place, part in enumerate(drawn_by)])

    def asked(self, label_names: Sequence[str]) -> tuple[str, ...]:
        """See `Generator.asked`."""
        return self.parts[0].asked(label_names)

    def to_bytes(self) -> bytes:
        """The digests of the parts and the images of each; the parts are saved by themselves."""
        return pack({"images": np.array(self.images)}, {"kind": self.KIND, "parts": self.digests})

    @classmethod
    def from_bytes(cls, payload: bytes, load: Callable[[str], Sampler]) -> Mixture:
        """The model that `to_bytes` saved.

        Args:
            load: finds a part by its digest.
        """
        arrays, description = unpack(payload)
        return cls([load(digest) for digest in description["parts"]], arrays["images"].tolist())

    @classmethod
    def is_saved_in(cls, payload: bytes) -> bool:
        """Whether a payload is a saved mixture rather than a generator."""
        return bool(description_of(payload)["kind"] == cls.KIND)


def images_of_members(membership: np.ndarray) -> np.ndarray:
    """Images that each member brings to a coalition; an image of several members is divided equally among them.

    Args:
        membership: bool, `(items, members)`.

    Returns:
        `(members,)`, which sum to the number of the coalition's images.
    """
    owned = membership[membership.any(axis=1)]
    images: np.ndarray = (owned / owned.sum(axis=1, keepdims=True)).sum(axis=0)
    return images
