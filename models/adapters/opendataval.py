"""Evaluators for opendataval: values of a training set by LAVA, SAVA or the detector.

opendataval 1.3.0 pins versions of NumPy and torch that Royalty does not run on. It works with newer ones when it is
installed with `pip install --no-deps`; see the guide "Value single images".
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
import torch
from opendataval.dataval import DataEvaluator, ModelLessMixin
from torch import Tensor

from royalty.models.base.errors import InputError
from royalty.models.valuation.estimators import Detector, LavaValuer, SavaValuer


class _ByEstimator(DataEvaluator, ModelLessMixin):  # type: ignore[misc]  # opendataval has no types
    """An evaluator by an estimator that is fitted to validation and scores training items.

    Attributes:
        estimator: with the given parameters; its diagnostics are those of the last values.
    """

    ESTIMATOR: ClassVar[type[Any]]

    def __init__(self, embedding_model: Any = None, random_state: Any = None, **parameters: Any) -> None:
        """An evaluator.

        Args:
            embedding_model: computes features of both sides, as for opendataval's evaluators without a model.
            random_state: seed of the estimator, if it has one.
            parameters: of the estimator.
        """
        super().__init__(random_state=random_state)
        self.embedding_model = embedding_model
        if "seed" in self.ESTIMATOR().get_params():
            parameters = {"seed": int(self.random_state.randint(2**31))} | parameters
        self.estimator = self.ESTIMATOR(**parameters)

    def train_data_values(self, *args: Any, **kwargs: Any) -> Self:
        """Value the training items by the validation items.

        Raises:
            InputError: labels that are not one-hot, or as for the estimator.
        """
        train, valid = (_rows(features) for features in self.embeddings(self.x_train, self.x_valid))
        self.estimator.fit(valid, _labels(self.y_valid))
        self.values: np.ndarray = self.estimator.score_samples(train, _labels(self.y_train))
        return self

    def evaluate_data_values(self) -> np.ndarray:
        """Values, float64, `(items,)`; higher is better."""
        return self.values


class RoyaltyLava(_ByEstimator):
    """LAVA; parameters are those of `royalty.LavaValuer`."""

    ESTIMATOR = LavaValuer


class RoyaltySava(_ByEstimator):
    """SAVA; parameters are those of `royalty.SavaValuer`."""

    ESTIMATOR = SavaValuer


class RoyaltyDetector(_ByEstimator):
    """The detector's scores; parameters are those of `royalty.Detector`."""

    ESTIMATOR = Detector


def _rows(features: Any) -> np.ndarray:
    """Features of a tensor or of a torch data set, `(items, d)`."""
    stacked = features if isinstance(features, Tensor) else torch.stack([torch.as_tensor(each) for each in features])
    return stacked.detach().cpu().reshape(len(stacked), -1).numpy()


def _labels(one_hot: Tensor) -> np.ndarray:
    """Classes of opendataval's labels.

    Raises:
        InputError: they are no classes, as in regression.
    """
    rows = np.asarray(one_hot.detach().cpu())
    if rows.ndim != 2 or rows.shape[1] < 2 or not np.isin(rows, (0, 1)).all() or not (rows.sum(axis=1) == 1).all():
        raise InputError(
            "these evaluators value items of classes, whose labels opendataval has one-hot, `(items, classes)`; got "
            f"labels of shape {rows.shape}. Choose a data set for classification"
        )
    return np.asarray(rows.argmax(axis=1))
