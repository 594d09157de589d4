"""Run by `test_adapters` in an environment with opendataval and pyDVL."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from opendataval.dataloader import DataFetcher
from opendataval.dataval import DataEvaluator
from opendataval.experiment import ExperimentMediator
from opendataval.experiment.exper_methods import noisy_detection
from opendataval.model import LogisticRegression
from pydvl.valuation import Dataset
from pydvl.valuation.dataset import GroupedDataset
from sklearn.datasets import load_digits

import royalty
from royalty.models.adapters.opendataval import RoyaltyDetector, RoyaltyLava, RoyaltySava
from royalty.models.adapters.pydvl import EstimatorValuation


def wrong_digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Training digits of which a fifth has a wrong label, clean digits, and which labels are wrong."""
    digits = load_digits()
    rng = np.random.default_rng(0)
    order = rng.permutation(len(digits.data))
    features, labels = digits.data[order] / 16, digits.target[order]
    wrong = np.arange(400) < 80
    train = np.where(wrong, (labels[:400] + rng.integers(1, 10, size=400)) % 10, labels[:400])
    return features[:400], train, features[400:800], labels[400:800], wrong


features, labels, clean, clean_labels, wrong = wrong_digits()
one_hot = [torch.nn.functional.one_hot(torch.as_tensor(side), 10).float() for side in (labels, clean_labels)]
tensors = [torch.as_tensor(side).float() for side in (features, clean)]

# opendataval: the values are ours, to the last digit, and its own experiment finds the wrong labels by them.
fetcher = DataFetcher.from_data_splits(
    tensors[0], one_hot[0], tensors[1], one_hot[1], tensors[1], one_hot[1], one_hot=True
)
fetcher.noisy_train_indices = np.flatnonzero(wrong)
evaluators = [RoyaltyLava(epsilon=0.2), RoyaltySava(batch_size=128, random_state=3), RoyaltyDetector(random_state=3)]
mediator = ExperimentMediator(fetcher, LogisticRegression(64, 10), metric_name="accuracy")
mediator = mediator.compute_data_values(evaluators)
assert len(mediator.data_evaluators) == 3, mediator.data_evaluators
scores = mediator.evaluate(noisy_detection, save_output=False)
assert float(scores["kmeans_f1"].iloc[2]) > 0.9, scores
arrays = [side.numpy() for side in tensors]
expected = royalty.lava_values(arrays[0], labels, arrays[1], clean_labels, epsilon=0.2)
np.testing.assert_array_equal(evaluators[0].data_values, expected.values)
assert evaluators[2].estimator.seed == evaluators[1].estimator.seed != 0
assert {"royaltylava", "royaltysava", "royaltydetector"} <= DataEvaluator.Evaluators.keys()
with pytest.raises(royalty.InputError, match=r"one-hot, `\(items, classes\)`; got labels of shape \(400, 1\)"):
    RoyaltyLava().input_data(tensors[0], one_hot[0][:, :1], tensors[1], one_hot[1]).train_data_values()

# pyDVL: likewise, with its indices and names.
data = Dataset(features, labels, data_names=[f"digit-{row}" for row in range(400)])
valuation = EstimatorValuation(royalty.LavaValuer(epsilon=0.2), Dataset(clean, clean_labels)).fit(data)
result = valuation.result
np.testing.assert_array_equal(
    result.values, royalty.lava_values(features, labels, clean, clean_labels, epsilon=0.2).values
)
assert result.algorithm == "LavaValuer"
assert result.names[7] == "digit-7"
grouped = GroupedDataset(features, labels, data_groups=labels)
with pytest.raises(royalty.InputError, match="values single items, and this data set has groups"):
    valuation.fit(grouped)
with pytest.raises(royalty.InputError, match="nothing to continue"):
    valuation.fit(data, continue_from=result)
print("adapters hold")
