"""Aesthetic scores of generated images by LAION's aesthetic predictor."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from scipy.stats.mstats import hdquantiles
from torch import nn

from royalty.models.base.checkpoints import load_exactly, read_checkpoint
from royalty.models.encoders.encoder import Encoder
from royalty.models.encoders.hub import clip
from royalty.models.properties.property import Context, Property, error_of_mean, jackknife

QUANTILE = 0.9
"""Quantile of the scores, as in the sparsified fine-tuning paper: users keep the best tenth of the images."""


def mean(context: Context, network: str) -> Property:
    """The mean score."""
    return Property(score_reader(context, network), lambda scores: float(scores.mean()), error_of_mean)


def upper(context: Context, network: str) -> Property:
    """The smooth 0.9 quantile of the scores; its standard error by a jackknife with up to 100 groups."""
    return Property(
        score_reader(context, network), smooth_quantile, lambda scores: jackknife(scores, smooth_quantile, groups=100)
    )


def score_reader(context: Context, network: str) -> Callable[[np.ndarray], np.ndarray]:
    """A function from uint8 images to scores, float64, `(images,)`, about 1 to 10, higher is more pleasing."""
    encoder = clip(context.weights(network)).to(context.device)
    head = linear_head(context.weights("aesthetic"), encoder.dimensions)
    return partial(aesthetic_scores, encoder, head)


def linear_head(folder: Path, dimensions: int) -> nn.Linear:
    """Load the linear layer from features to a score from `model.pth` in a folder.

    Raises:
        InputError: the file is missing, damaged, or has the weights of another network.
    """
    head = nn.Linear(dimensions, 1)
    load_exactly(head, read_checkpoint(folder / "model.pth"), folder / "model.pth")
    return head


@torch.inference_mode()
def aesthetic_scores(encoder: Encoder, head: nn.Linear, images: np.ndarray) -> np.ndarray:
    """Scores of uint8 images: the output of the head for features scaled to length one."""
    features = nn.functional.normalize(torch.from_numpy(encoder.features(images)))
    scores: np.ndarray = head(features)[:, 0].double().numpy()
    return scores


def smooth_quantile(scores: np.ndarray, q: float = QUANTILE) -> float:
    """The quantile as a weighted mean of all sorted scores (Harrell and Davis 1982), which has a smaller variance."""
    return float(hdquantiles(scores, [q])[0])
