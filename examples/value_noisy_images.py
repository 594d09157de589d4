"""Value the images of a set by LAVA, and see that noisy ones come last.

Run it as a program, or cell by cell in an editor that knows `# %%`. It takes a few seconds on a CPU.
"""

# %% A set of real images, a fifth of them with noise
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score

import royalty

rng = np.random.default_rng(0)
digits = load_digits()
order = rng.permutation(len(digits.images))
images, labels = digits.images[order] / 16, digits.target[order]  # (1797, 8, 8) in [0, 1]

train, train_labels = images[:1000].copy(), labels[:1000]
clean, clean_labels = images[1000:], labels[1000:]

noisy = np.zeros(len(train), dtype=bool)
noisy[rng.choice(len(train), size=200, replace=False)] = True
train[noisy] = np.clip(train[noisy] + rng.normal(scale=0.5, size=train[noisy].shape), 0, 1)

# %% Value every training image by the clean ones
# Digits of 8 by 8 pixels are compared pixel by pixel; larger images want the features of an encoder.
values = royalty.lava_values(train.reshape(len(train), -1), train_labels, clean.reshape(len(clean), -1), clean_labels)
auroc = roc_auc_score(~noisy, values.values)
print(f"marginal error {values.diagnostics['marginal_error']:.1e}, {values.diagnostics['iterations']} passes")
print(f"a clean image is worth more than a noisy one in {auroc:.1%} of pairs")

# %% The values of clean and of noisy images
figure, axes = plt.subplots(figsize=(7, 4))
bins = np.linspace(values.values.min(), values.values.max(), 40)
axes.hist(values.values[~noisy], bins, alpha=0.7, label="clean")
axes.hist(values.values[noisy], bins, alpha=0.7, label="with noise")
axes.set(xlabel="value by LAVA (higher is more valuable)", ylabel="images")
axes.legend()
figure.tight_layout()

# %% The images of lowest and of highest value
ranked = values.values.argsort()
figure, rows = plt.subplots(2, 10, figsize=(10, 2.6))
for row, chosen, title in ((rows[0], ranked[:10], "lowest value"), (rows[1], ranked[-10:], "highest value")):
    for axes, index in zip(row, chosen, strict=True):
        axes.imshow(train[index], cmap="gray_r", vmin=0, vmax=1)
        axes.set_xticks([])
        axes.set_yticks([])
    row[0].set_title(title, loc="left", fontsize=9)
figure.tight_layout()

# %% How many noisy images are found by looking at the items of lowest value first
found = noisy[ranked].cumsum() / noisy.sum()
figure, axes = plt.subplots(figsize=(6, 4))
looked_at = np.arange(1, len(train) + 1) / len(train)
axes.plot(looked_at, found, label="by LAVA")
axes.plot([0, 1], [0, 1], linestyle="--", color="gray", label="by chance")
axes.set(xlabel="fraction of the images looked at", ylabel="fraction of noisy images found")
axes.legend()
figure.tight_layout()

plt.show()
