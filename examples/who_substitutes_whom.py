"""Find out who substitutes whom, and predict the utility of coalitions that were not measured.

Ten contributors bring labelled digits, and each brings a few classes only, so that contributors with the same classes
can replace each other. The utility of a coalition is the accuracy of a nearest-centroid classifier trained on what
its members bring. Run it as a program, or cell by cell in an editor that knows `# %%`. It takes seconds on a CPU.
"""

# %% Ten contributors; 0 and 1 bring the same classes, and so do 2 and 3
import warnings

import numpy as np
from sklearn.datasets import load_digits
from sklearn.neighbors import NearestCentroid

import royalty

warnings.simplefilter("ignore", UserWarning)  # some pixels are the same in all images of a coalition

CLASSES = [{0, 1, 2}, {0, 1, 2}, {3, 4}, {3, 4}, {5}, {6}, {7}, {8}, {9}, {5, 9}]

digits = load_digits()
train, test = np.arange(900), np.arange(900, len(digits.data))
rng = np.random.default_rng(0)
holders = [np.array([owner for owner, classes in enumerate(CLASSES) if label in classes]) for label in range(10)]
owner = np.array([rng.choice(holders[label]) for label in digits.target[train]])


# %% The utility: accuracy on images that nobody brought
def accuracy(mask: np.ndarray) -> float:
    """Of a classifier trained on the images of a coalition, bool `(contributors,)`."""
    chosen = mask[owner]
    labels = digits.target[train][chosen]
    if len(np.unique(labels)) < 2:
        return 0.1  # a guess among ten digits
    model = NearestCentroid().fit(digits.data[train][chosen], labels)
    return float(model.score(digits.data[test], digits.target[test]))


# %% Measure a sample of the 1,024 coalitions, and fit the game
masks = royalty.sample_coalitions(10, 100, seed=0)  # (100, 10)
utilities = np.array([accuracy(mask) for mask in masks])
nobody, everybody = np.zeros(10, dtype=bool), np.ones(10, dtype=bool)
game = royalty.fit_game(masks, utilities, accuracy(nobody), accuracy(everybody))

for first, second in zip(*np.triu_indices(10, 1), strict=True):
    low, high = game.interactions_low[first, second], game.interactions_high[first, second]
    if high < 0 or low > 0:
        kind = "substitute" if high < 0 else "complement"
        print(f"contributors {first} and {second} {kind} each other: {low:+.3f} to {high:+.3f}")

# %% Predict coalitions that were not measured
unseen = royalty.sample_coalitions(10, 40, seed=1)
predicted = game.predict(unseen)
actual = np.array([accuracy(mask) for mask in unseen])
error = np.sqrt(np.mean((predicted.values - actual) ** 2))
additive = accuracy(nobody) + unseen @ game.shapley.values
print(f"error of predictions: {error:.3f}; of the sum of credit: {np.sqrt(np.mean((additive - actual) ** 2)):.3f}")
