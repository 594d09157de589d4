"""Credit the contributors of any utility of your own by Shapley values with intervals.

Here ten contributors bring labelled digits, and the utility of a coalition is the accuracy of a classifier trained on
what its members bring. Run it as a program, or cell by cell in an editor that knows `# %%`. It takes a
few seconds on a CPU.
"""

# %% Ten contributors with images of digits; one brings wrong labels
import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

import royalty

warnings.simplefilter("ignore", ConvergenceWarning)  # a few iterations are enough to rank coalitions

CONTRIBUTORS = 10
SIZES = np.array([5, 10, 15, 20, 25, 30, 35, 40, 40, 40])  # images of each contributor

rng = np.random.default_rng(0)
digits = load_digits()
order = rng.permutation(len(digits.data))
images, labels = digits.data[order] / 16, digits.target[order].copy()

owner = np.repeat(np.arange(CONTRIBUTORS), SIZES)  # of each training image
train = slice(0, len(owner))
test = slice(len(owner), None)
wrong = np.flatnonzero(owner == CONTRIBUTORS - 1)
labels[wrong] = rng.integers(0, 10, size=len(wrong))  # the last contributor labels at random


# %% The utility: accuracy on images that nobody brought
def accuracy(mask: np.ndarray) -> float:
    """Of a classifier trained on the images of a coalition, bool `(contributors,)`."""
    chosen = mask[owner]
    if len(np.unique(labels[train][chosen])) < 2:
        return 0.1  # a guess among ten digits
    model = LogisticRegression(max_iter=30).fit(images[train][chosen], labels[train][chosen])
    return float(model.score(images[test], labels[test]))


# %% Measure a sample of the 1,024 coalitions, and estimate credit
masks = royalty.sample_coalitions(CONTRIBUTORS, 60, seed=0)  # (60, 10)
utilities = np.array([accuracy(mask) for mask in masks])
nobody, everybody = np.zeros(CONTRIBUTORS, dtype=bool), np.ones(CONTRIBUTORS, dtype=bool)
credit = royalty.estimate_shapley(masks, utilities, accuracy(nobody), accuracy(everybody))

print(f"estimator: {credit.diagnostics['estimator']}, {credit.n_evaluations} coalitions measured")
for contributor in credit.values.argsort()[::-1]:
    low, high = credit.ci_low[contributor], credit.ci_high[contributor]
    print(f"contributor {contributor}: {credit.values[contributor]:+.3f}   {low:+.3f} to {high:+.3f}")

# %% Credit with intervals
names = [f"{contributor}: {size} images" for contributor, size in enumerate(SIZES)]
names[-1] += ",\nrandom labels"
errors = np.stack([credit.values - credit.ci_low, credit.ci_high - credit.values])
figure, axes = plt.subplots(figsize=(9, 4))
axes.bar(names, credit.values, yerr=errors, capsize=4)
axes.axhline(0, color="black", linewidth=0.8)
axes.set_ylabel("credit (accuracy)")
axes.tick_params(axis="x", labelrotation=30)
figure.tight_layout()

# %% More coalitions, narrower intervals
counts = [20, 40, 60]
widths = []
for count in counts:
    part = royalty.estimate_shapley(masks[:count], utilities[:count], accuracy(nobody), accuracy(everybody))
    widths.append((part.ci_high - part.ci_low).mean())
figure, axes = plt.subplots(figsize=(6, 4))
axes.plot(counts, widths, marker="o")
axes.set(xlabel="coalitions measured", ylabel="mean width of the intervals", ylim=(0, None))
figure.tight_layout()

plt.show()
