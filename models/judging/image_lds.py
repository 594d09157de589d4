"""Linear datamodeling score of single images: do values of training images predict the models of random subsets?

For each generated image, the sum of the values of the training images in a subset should rank subsets as minus the loss
of the image by a model of the subset does (Park et al. 2023). All images are judged by the same models, so their scores
rise and fall together; what chance does is therefore found by subsets, and not by images alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from royalty.models.base.errors import InputError
from royalty.models.judging.controls import RANDOM_DRAWS, ChanceRange
from royalty.models.judging.datamodeling import MIN_RANKED
from royalty.models.judging.ranking import DRAWS, HeldOutRanking, Score

PERMUTATIONS = 499
"""Random orders of the subsets by which the p-value of a score is found."""


@dataclass(frozen=True)
class ImageScores:
    """How well the values of one method rank subsets, for several generated images.

    Attributes:
        over_images: mean over images of the LDS, with a bootstrap of the images alone: `coalitions` is the number of
            subsets, and `groups` of images. Subsets and models are taken as given.
        over_both: the same, with a bootstrap of images and subsets.
        p: one-sided p-value of the null hypothesis that values do not tell subsets apart, by permutations of the
            subsets, the same for all images.
        images: LDS of each image, `(images,)`, in [-1, 1]; higher is better. 0 where values do not vary.
    """

    over_images: Score
    over_both: Score
    p: float
    images: np.ndarray = field(repr=False)


class SubsetRanking:
    """Subsets of training images, ranked for each generated image by minus its loss.

    Scores of one ranking share bootstrap draws, and can be compared by `royalty.models.judging.ranking.lead`.

    Args:
        losses: of generated images by the model of each subset, `(subsets, images)`.
        seed: of bootstrap draws and permutations.

    Raises:
        InputError: there are fewer than three subsets, or fewer than two images.
    """

    def __init__(self, losses: np.ndarray, *, seed: int = 0) -> None:
        if losses.ndim != 2 or losses.shape[0] < MIN_RANKED or losses.shape[1] < 2:
            raise InputError(
                f"losses are of {MIN_RANKED} subsets or more and of two images or more, (subsets, images); got "
                f"{losses.shape}"
            )
        self._subsets, self._count = losses.shape
        one_group = np.zeros(self._subsets, dtype=int)
        # One seed: the subsets that a draw repeats are the same for all images, as their models are.
        self._images = [HeldOutRanking(-column, one_group, seed=seed) for column in losses.T]
        self._all = HeldOutRanking(-losses.T.ravel(), np.repeat(np.arange(self._count), self._subsets), draws=1)
        self._seed = seed

    def correlation(self, predicted: np.ndarray) -> float:
        """Mean over images of the LDS of predictions, `(subsets, images)`."""
        return self._all.correlation(predicted.T.ravel())

    def score(self, predicted: np.ndarray) -> ImageScores:
        """Score predictions.

        Args:
            predicted: `(subsets, images)`; higher predicts a lower loss.
        """
        scores = [ranking.score(column) for ranking, column in zip(self._images, predicted.T, strict=True)]
        images = np.array([score.lds for score in scores])
        resampled = np.stack([score.resampled for score in scores], axis=1)  # (draws, images)
        generator = np.random.default_rng(self._seed)
        chosen = generator.integers(self._count, size=(DRAWS, self._count))
        plain = replace(scores[0], lds=float(images.mean()), groups=self._count)
        plain = replace(plain, pearson=float(np.mean([score.pearson for score in scores])))
        shuffled = [self.correlation(generator.permutation(predicted)) for _ in range(PERMUTATIONS)]
        # The tolerance counts permutations that give the same ranks as at least as high.
        as_high = int((np.array(shuffled) >= images.mean() - 1e-12).sum())
        return ImageScores(
            over_images=_with_draws(plain, images[chosen].mean(axis=1)),
            over_both=_with_draws(plain, np.take_along_axis(resampled, chosen, axis=1).mean(axis=1)),
            p=(1 + as_high) / (1 + PERMUTATIONS),
            images=images,
        )

    def chance(self, masks: np.ndarray) -> ChanceRange:
        """Score random values: one normal value for each training image, the same for all generated images.

        Args:
            masks: bool, `(subsets, items)`.
        """
        generator = np.random.default_rng(self._seed)
        predicted = masks @ generator.normal(size=(masks.shape[1], RANDOM_DRAWS))  # (subsets, draws)
        scores = [self.correlation(np.repeat(column[:, None], self._count, axis=1)) for column in predicted.T]
        low, high = np.quantile(scores, [0.025, 0.975])
        return ChanceRange(float(np.mean(scores)), float(low), float(high))


def _with_draws(score: Score, resampled: np.ndarray) -> Score:
    low, high = np.quantile(resampled, [0.025, 0.975])
    return replace(score, low=float(low), high=float(high), resampled=resampled)
