"""Worker code: classifiers that are trained without detected items, and attacks on them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from royalty.models.base.choices import CorruptionName
from royalty.models.data.corruptions import TRIGGERS, Corrupted, with_trigger
from royalty.models.encoders.head import fit_head
from royalty.models.properties.classifier import Classifier
from royalty.tasks.stages.device import best_device
from royalty.tasks.stages.stage import TableRow


@dataclass(frozen=True)
class Attack:
    """Images that a classifier takes for another label if the corruption has its aim.

    Attributes:
        images: uint8, `(images, channels, height, width)`; none of them has the label.
        label: for which they are to be taken.
    """

    images: np.ndarray
    label: int


def attack_of(corruption: CorruptionName, images: np.ndarray, labels: np.ndarray, classes: np.ndarray) -> Attack | None:
    """The attack of a corruption on unseen test images: those of other labels with the trigger of a backdoor, or the
    one image that poisoned images collide with; None: it has no aim.

    Args:
        classes: labels of the clean set; the first is that of backdoors and of the target of poisoned images, which
            have the second.
    """
    if corruption == "poison-frogs":
        return Attack(images[labels == classes[0]][:1], int(classes[1]))
    if corruption in TRIGGERS:
        return Attack(with_trigger(images[labels != classes[0]], TRIGGERS[corruption]), int(classes[0]))
    return None


@dataclass(frozen=True)
class Retraining:
    """A corrupted training set, and unseen test images that judge what is trained on parts of it.

    Attributes:
        components, test_components, attack_components: principal components of the encoder's features of training,
            test and attack images, `(images, dimensions)`; for the linear classifier.
        test, test_labels: unseen images and their labels.
        network_steps: training steps of the convolutional network; 0: none is trained.
    """

    corrupted: Corrupted
    components: np.ndarray
    test_components: np.ndarray
    attack_components: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray
    attack: Attack | None
    network_steps: int
    seed: int

    def without(self, removed: np.ndarray) -> list[TableRow]:
        """Train without some items: a row for each classifier, with its `accuracy` on test images and with
        `attack_success`, the fraction of attacking images that it takes for the label of the attack.

        Args:
            removed: positions of the items left out.
        """
        left = np.delete(np.arange(len(self.components)), removed)
        labels = self.corrupted.labels[left]
        head = fit_head(self.components[left], labels)
        judging = np.concatenate([self.test_components, self.attack_components])
        rows = [self._row("linear", head.classes[head.logits(judging).argmax(axis=1)])]
        if self.network_steps:
            images = self.corrupted.images[left]
            classes, numbers = np.unique(labels, return_inverse=True)
            network = Classifier(images.shape[1], len(classes), seed=self.seed).to(best_device())
            network.fit(images, numbers, steps=self.network_steps, seed=self.seed)
            judged = self.test if self.attack is None else np.concatenate([self.test, self.attack.images])
            rows.append(self._row("network", classes[network.probabilities(judged).argmax(axis=1)]))
        return rows

    def _row(self, classifier: str, read: np.ndarray) -> TableRow:
        # Labels are read on test images, and then on attacking ones.
        test, attacking = np.split(read, [len(self.test_labels)])
        taken = None if self.attack is None else float((attacking == self.attack.label).mean())
        return {"classifier": classifier, "accuracy": float((test == self.test_labels).mean()), "attack_success": taken}
