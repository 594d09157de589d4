"""No-reference image quality with metrics of the `pyiqa` package, such as MANIQA (Yang et al. 2022)."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from royalty.models.base.checkpoints import hub_extra, load_exactly, read_checkpoint, weights_digest
from royalty.models.base.errors import InputError, by_name
from royalty.models.base.progress import Progress
from royalty.models.encoders.encoder import as_colour, in_batches

BATCH = 8
"""Images scored at once; MANIQA scores twenty crops of each image."""


class PyiqaQuality:
    """A metric of pyiqa, mapped to [0, 1] by the range that pyiqa declares for it.

    A score s becomes (s - low) / (high - low), clipped to [0, 1] because many ranges of pyiqa are approximate.
    If lower scores are better, the result is 1 minus this. Greyscale is repeated to three channels. Images keep their
    size unless the metric resizes them.

    Args:
        net: a network of pyiqa: from images in [0, 1], `(items, 3, height, width)`, to `(items, 1)` scores.
        name: the name of the metric in pyiqa.

    Raises:
        InputError: pyiqa is not installed, has no metric of this name, or declares no finite range for it.
    """

    def __init__(self, net: Any, name: str) -> None:
        self.net = net.eval().requires_grad_(False)
        declared = _declared(name)
        self.low, self.high = _range(name, str(declared.get("score_range")))
        self.lower_is_better = bool(declared.get("lower_better", False))
        self.name = f"pyiqa-{name}-{weights_digest(net, str(dict(declared)))}"
        self.device = torch.device("cpu")

    def to(self, device: str) -> PyiqaQuality:
        self.device = torch.device(device)
        self.net.to(self.device)
        return self

    def scores(self, images: np.ndarray, *, progress: Progress | None = None) -> np.ndarray:
        """Scores of uint8 images, `(items, 1 or 3, height, width)`; float32, `(items,)`, in [0, 1], higher is better.

        Raises:
            InputError: the images are not uint8 with one or three channels, or the score of an image is not finite.
        """
        raw = in_batches(self._score, images, 1, device=self.device, batch_size=BATCH, progress=progress)[:, 0]
        unscored = np.flatnonzero(~np.isfinite(raw))
        if len(unscored):
            raise InputError(
                f"{self.name} gives no finite score for image {unscored[0]} of shape {images.shape[1:]}; remove images "
                "of a single colour, enlarge small images, or choose another quality metric"
            )
        scaled = ((raw - self.low) / (self.high - self.low)).clip(0, 1)
        return 1 - scaled if self.lower_is_better else scaled

    def _score(self, images: Tensor) -> Tensor:
        scores: Tensor = self.net(as_colour(images)).reshape(-1, 1)
        return scores


def build(*folders: Path, metric: str, device: str) -> PyiqaQuality:
    """A metric of pyiqa.

    Args:
        folders: one folder with its checkpoint, `model.pth`; none for a metric without weights.
        metric: as pyiqa calls it.

    Raises:
        InputError: pyiqa is not installed, has no such metric, or the file is not its checkpoint.
    """
    options = dict(_declared(metric)["metric_opts"])
    with _offline():
        from pyiqa.archs import build_network
        from pyiqa.archs.arch_util import clean_state_dict

        net = build_network({**options, "pretrained": None} if folders else options)
    for folder in folders:
        state = read_checkpoint(folder / "model.pth")
        load_exactly(net, clean_state_dict(state.get("params", state)), folder / "model.pth")
    return PyiqaQuality(net, metric).to(device)


@contextmanager
def _offline() -> Iterator[None]:
    """Build networks without downloads and without log messages.

    The constructors of pyiqa would download the weights of their backbones, even where a checkpoint replaces them all.
    """
    import timm

    logger, create = logging.getLogger("pyiqa"), timm.create_model
    level = logger.level
    logger.setLevel(logging.WARNING)
    timm.create_model = partial(_untrained, create)
    try:
        yield
    finally:
        timm.create_model = create
        logger.setLevel(level)


def _untrained(create: Any, *arguments: Any, **options: Any) -> Any:
    return create(*arguments, **{**options, "pretrained": False})


def _declared(name: str) -> Mapping[str, Any]:
    with hub_extra():
        from pyiqa.default_model_configs import DEFAULT_CONFIGS
    declared: Mapping[str, Any] = by_name(name, DEFAULT_CONFIGS, "metric of pyiqa")
    return declared


def _range(name: str, declared: str) -> tuple[float, float]:
    try:
        low, high = (float(end.strip().removeprefix("~")) for end in declared.split(","))
    except ValueError as error:
        raise InputError(
            f"scores are mapped to [0, 1] by a range with two ends, and pyiqa declares {declared!r} for {name}; choose "
            "another metric"
        ) from error
    return low, high
