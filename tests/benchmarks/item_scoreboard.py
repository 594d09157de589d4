"""Methods of opendataval and pyDVL beside ours, on opendataval's two tasks of finding planted noise.

    python -m tests.benchmarks.item_scoreboard FOLDER [--items 600] [--clean 300] [--seeds 5] [--models 300]

FOLDER is a new environment, or one that this program has made: both packages pin older versions of NumPy. Training
digits of scikit-learn get wrong labels, or Gaussian noise of standard deviation 1 in pixels from 0 to 1, by
opendataval's own functions, which disturb validation as they disturb training; a second part has a clean validation.
Columns are AUROC of the planted items, opendataval's F1 score of its split of the values into two groups, test
accuracy of a logistic regression without the fifth of lowest value, and processor seconds: means over seeds, with
standard errors.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
import warnings
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.peer_environment import make_peers

PARTS = ("wrong labels", "noise")
NOISE = 0.2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    for name, default in {"items": 600, "clean": 300, "seeds": 5, "models": 300}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    python = make_peers(options.folder.absolute())
    if Path(sys.executable) != python:
        os.environ["PYTHONPATH"] = str(Path.cwd())
        raise SystemExit(subprocess.run([str(python), "-m", __spec__.name, *sys.argv[1:]]).returncode)
    warnings.filterwarnings("ignore")
    board(options.items, options.clean, options.seeds, options.models)


def board(items: int, clean: int, seeds: int, models: int) -> None:
    """Print the scoreboard of each task, with disturbed and with clean validation."""
    from opendataval.experiment.util import f1_score, oned_twonn_clustering  # after the environment is there
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    for part in PARTS:
        for disturbed in (True, False):
            rows: dict[str, list[tuple[float, ...]]] = defaultdict(list)
            for seed in range(seeds):
                fetcher, test = task(part, items, clean, seed, disturbed)
                planted = np.isin(np.arange(items), fetcher.noisy_train_indices)
                for name, method in methods(models, seed).items():
                    start = time.process_time()
                    values = np.asarray(method(fetcher), dtype=float).reshape(-1)
                    seconds = time.process_time() - start
                    low, _ = oned_twonn_clustering(values)
                    kept = np.argsort(values)[items // 5 :]
                    model = LogisticRegression(max_iter=500)
                    model.fit(fetcher.x_train[kept], fetcher.y_train[kept].argmax(1))
                    accuracy = model.score(*test)
                    f1 = f1_score(low, fetcher.noisy_train_indices, items)
                    rows[name].append((roc_auc_score(planted, -values), f1, accuracy, seconds))
            print(f"\n{part}, validation {'disturbed likewise' if disturbed else 'clean'}")
            print(f"{'':34}{'AUROC':>16}{'F1':>16}{'accuracy':>16}{'seconds':>9}")
            for name, found in rows.items():
                means, errors = np.mean(found, axis=0), np.std(found, axis=0, ddof=1) / np.sqrt(len(found))
                cells = "".join(
                    f"{mean:>9.3f} ± {error:.3f}"[:16] for mean, error in zip(means[:3], errors, strict=False)
                )
                print(f"{name:34}{cells}{means[3]:>9.2f}", flush=True)


def task(part: str, items: int, clean: int, seed: int, disturbed: bool) -> tuple[Any, tuple[np.ndarray, np.ndarray]]:
    """The training and validation data of opendataval, and test digits."""
    from opendataval.dataloader import DataFetcher
    from opendataval.dataloader.noisify import add_gauss_noise, mix_labels
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.default_rng(seed).permutation(len(digits.data))
    features, labels = digits.data[order] / 16, np.eye(10)[digits.target[order]]
    ends = items, items + clean
    fetcher = DataFetcher.from_data_splits(
        features[: ends[0]].copy(),
        labels[: ends[0]].copy(),
        features[ends[0] : ends[1]].copy(),
        labels[ends[0] : ends[1]].copy(),
        features[ends[1] :],
        labels[ends[1] :],
        one_hot=True,
        random_state=seed,
    )
    noisy = mix_labels(fetcher, NOISE) if part == "wrong labels" else add_gauss_noise(fetcher, NOISE)
    for name, value in noisy.items():
        if disturbed or "valid" not in name:
            setattr(fetcher, name, value)
    if not disturbed:  # these functions also write into the arrays that they were given
        fetcher.x_valid, fetcher.y_valid = features[ends[0] : ends[1]], labels[ends[0] : ends[1]]
    return fetcher, (features[ends[1] :], digits.target[order][ends[1] :])


def methods(models: int, seed: int) -> dict[str, Callable[[Any], np.ndarray]]:
    """By name, a function from opendataval's data to values; higher is better."""
    import pydvl.valuation as pydvl
    from opendataval import dataval as theirs
    from opendataval.model import ClassifierSkLearnWrapper
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier

    import royalty
    from royalty.models.adapters import opendataval as ours
    from royalty.models.adapters.pydvl import EstimatorValuation

    def of_opendataval(evaluator: Any) -> Callable[[Any], np.ndarray]:
        def values(fetcher: Any) -> np.ndarray:
            model = ClassifierSkLearnWrapper(LogisticRegression, 10, max_iter=200)
            x_train, x_valid = tensors(fetcher.x_train, fetcher.x_valid)
            y_train, y_valid = tensors(fetcher.y_train, fetcher.y_valid)
            evaluator.input_data(x_train, y_train, x_valid, y_valid)
            if isinstance(evaluator, theirs.ModelMixin):
                from opendataval.metrics import accuracy

                evaluator.input_model(model).input_metric(accuracy)
            return np.asarray(evaluator.train_data_values().data_values)

        return values

    def of_pydvl(make: Callable[[Any], Any]) -> Callable[[Any], np.ndarray]:
        def values(fetcher: Any) -> np.ndarray:
            data = pydvl.Dataset(fetcher.x_train, fetcher.y_train.argmax(1))
            reference = pydvl.Dataset(fetcher.x_valid, fetcher.y_valid.argmax(1))
            return np.asarray(make(reference).fit(data).result.values)

        return values

    return {
        "opendataval KNNShapley": of_opendataval(theirs.KNNShapley(10, random_state=seed)),
        "opendataval LavaEvaluator": of_opendataval(theirs.LavaEvaluator(random_state=seed)),
        "opendataval DataOob": of_opendataval(theirs.DataOob(models, random_state=seed)),
        "opendataval DataBanzhaf": of_opendataval(theirs.DataBanzhaf(models, random_state=seed)),
        "opendataval InfluenceSubsample": of_opendataval(theirs.InfluenceSubsample(models, random_state=seed)),
        "opendataval AME": of_opendataval(theirs.AME(models // 4, random_state=seed)),
        "pyDVL KNNShapleyValuation": of_pydvl(
            lambda reference: pydvl.KNNShapleyValuation(KNeighborsClassifier(10), reference, progress=False)
        ),
        "RoyaltyLava": of_opendataval(ours.RoyaltyLava()),
        "RoyaltySava": of_opendataval(ours.RoyaltySava(random_state=seed)),
        "RoyaltyDetector": of_opendataval(ours.RoyaltyDetector(random_state=seed)),
        "Detector in pyDVL": of_pydvl(lambda reference: EstimatorValuation(royalty.Detector(seed=seed), reference)),
    }


def tensors(*arrays: np.ndarray) -> list[Any]:
    import torch

    return [torch.as_tensor(np.asarray(array)).float() for array in arrays]


if __name__ == "__main__":
    main()
