"""The global model properties that can be credited, by name; importing this file does not import torch.

A property is chosen as `name`, `name@network` for another network than the first on offer, or `package.module:function`
for a function of the user's own. Some take settings, as in `name(setting=0.5)@network`. To add a property, write its
builder in a file of this folder, and its entry below.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from royalty.models.base.errors import InputError, by_name
from royalty.models.base.registry import Entry, load
from royalty.models.distances.registry import DISTANCES
from royalty.models.encoders.registry import ENCODERS

if TYPE_CHECKING:
    from royalty.models.properties.property import Context, Property

WRITTEN = re.compile(r"(?P<name>[^@()]*)(\((?P<settings>[^()]*)\))?(@(?P<network>.*))?")
IMPORT_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")

OWN_CLASSIFIER = "classifier"
"""Trained on the images that are held out for it, and their labels."""

CLASSIFIERS: Mapping[str, Entry] = {
    OWN_CLASSIFIER: Entry("royalty.models.properties.classifier:Classifier"),
    "inception-v3": Entry("royalty.models.encoders.inception:inception_v3", ("inception-v3",)),
}
"""What sorts images into classes; the first is the default, here and below."""

AESTHETIC: Mapping[str, Entry] = {
    "clip-large": Entry("royalty.models.encoders.hub:clip", ("clip-large", "aesthetic")),
}


@dataclass(frozen=True)
class Known:
    """What is known of a property before anything heavy is imported.

    Attributes:
        title, meaning: for readers of a report.
        builder: `module:function` from a `Context` and the name of a network to the property. Named rather than
            imported: a configuration is checked without torch, and a measurement's key covers its own property's code.
        networks: what it can be measured by, with the weights and the module of each; the first is the default.
        compares: whether it depends on the reference images.
        references: fewest reference images that it compares with.
        settings: names of the numbers that the builder takes by keyword; all have defaults, and are above 0.
        package: what must be installed for it, which is also the name of the extra; "" for none.
    """

    title: str
    meaning: str
    builder: str
    networks: Mapping[str, Entry]
    compares: bool = False
    references: int = 0
    settings: tuple[str, ...] = ()
    package: str = ""

    @property
    def network(self) -> str:
        """The default."""
        return next(iter(self.networks))


@dataclass(frozen=True)
class Chosen:
    """A property, the network that measures it, and its settings."""

    known: Known
    network: str
    settings: Mapping[str, float] = field(default_factory=dict)

    @property
    def title(self) -> str:
        settings = "".join(f", {name} {number:g}" for name, number in self.settings.items())
        return self.known.title + settings + (f", by {self.network}" if self.network != self.known.network else "")

    @property
    def needs_labels(self) -> bool:
        """Whether it is judged by a classifier of the images' own labels."""
        return self.network == OWN_CLASSIFIER

    @property
    def weights(self) -> tuple[str, ...]:
        """Names of the weights that it takes."""
        return self.known.networks[self.network].weights

    @property
    def modules(self) -> tuple[str, ...]:
        """Modules whose code decides its value."""
        return (self.known.builder.partition(":")[0], self.known.networks[self.network].module)

    def build(self, context: Context) -> Property:
        """The property, ready to measure.

        Raises:
            InputError: its network, enough reference images or the user's function are not to be had.
        """
        built: Property = load(self.known.builder)(context, self.network, **self.settings)
        return built


PROPERTIES: Mapping[str, Known] = {
    "inception-score": Known(
        "Inception Score",
        "How recognizable and how varied the generated images are, to a classifier trained on images that the "
        "generator never saw: 1 when all look alike to it, the number of classes when each image is clearly of one "
        "class and all classes are equally common.",
        "royalty.models.properties.inception_score:build",
        CLASSIFIERS,
    ),
    "class-entropy": Known(
        "class entropy",
        "How evenly the generated images spread over the classes that a classifier sorts them into, one trained on "
        "images that the generator never saw: 0 when all are of one class, the logarithm of the number of classes "
        "when all are equally common.",
        "royalty.models.properties.class_entropy:build",
        CLASSIFIERS,
    ),
    "fid": Known(
        "FID, negated",
        "How alike the generated images and real ones that the generator never saw are in the features of a network, "
        "by their mean and covariance: 0 when both are the same, below 0 otherwise. Fewer images give lower numbers, "
        "so it compares models by equal numbers of images only.",
        "royalty.models.properties.fid:build",
        ENCODERS,
        compares=True,
        references=2,
    ),
    "kid": Known(
        "KID, negated",
        "How alike the generated images and real ones that the generator never saw are in the features of a network, "
        "by a kernel that sees more than mean and covariance: 0 on average when both are drawn alike, below 0 "
        "otherwise. The number of images does not shift it.",
        "royalty.models.properties.kid:build",
        ENCODERS,
        compares=True,
        references=2,
    ),
    "sinkhorn": Known(
        "Sinkhorn divergence, negated",
        "How alike the generated images and real ones that the generator never saw are in the features of a network, "
        "by what it costs to move the ones to the others: 0 when both are the same, below 0 otherwise. Fewer images "
        "give lower numbers, so it compares models by equal numbers of images only.",
        "royalty.models.properties.sinkhorn:build",
        ENCODERS,
        compares=True,
        references=2,
        settings=("blur", "reach"),
        package="geomloss",
    ),
    "precision": Known(
        "precision",
        "The share of generated images that are as near to a real one, in the features of a network, as that one's "
        "third nearest real neighbour: from 0 to 1.",
        "royalty.models.properties.manifold:precision",
        ENCODERS,
        compares=True,
        references=4,
    ),
    "recall": Known(
        "recall",
        "The share of real images, which the generator never saw, that are as near to a generated one, in the features "
        "of a network, as that one's third nearest generated neighbour: from 0 to 1.",
        "royalty.models.properties.manifold:recall",
        ENCODERS,
        compares=True,
        references=1,
    ),
    "cluster-entropy": Known(
        "cluster entropy",
        "How evenly the generated images spread over 20 clusters of real images that the generator never saw, by the "
        "features of a network, in bits: 0 when all are in one cluster, 4.32 when all clusters are equally common.",
        "royalty.models.properties.cluster_entropy:build",
        ENCODERS,
        compares=True,
        references=20,
    ),
    "diversity": Known(
        "diversity",
        "The mean perceptual distance between two generated images: 0 when all are the same.",
        "royalty.models.properties.diversity:build",
        DISTANCES,
    ),
    "aesthetic": Known(
        "aesthetic score",
        "How pleasing people find the generated images, as LAION's predictor sees it, from about 1 to 10: the mean.",
        "royalty.models.properties.aesthetic:mean",
        AESTHETIC,
    ),
    "aesthetic-p90": Known(
        "aesthetic score, 0.9 quantile",
        "How pleasing people find the best tenth of the generated images, as LAION's predictor sees it, from about 1 "
        "to 10: the score that nine in ten images do not reach.",
        "royalty.models.properties.aesthetic:upper",
        AESTHETIC,
    ),
}


def chosen_property(written: str) -> Chosen:
    """What a configuration's `property` stands for; a user's function is not imported yet.

    Raises:
        InputError: no property or no network of it has this name, it has no such setting, or it is no import path.
    """
    if ":" in written:
        return _own_function(written)
    parts = WRITTEN.fullmatch(written)
    if parts is None:
        raise InputError(
            f"a property is written `NAME`, `NAME@NETWORK` or `NAME(SETTING=0.5)@NETWORK`, got {written!r}"
        )
    name, network = parts["name"], parts["network"]
    known = by_name(name, PROPERTIES, "property")
    if network is not None:
        by_name(network, known.networks, f"network for {name}")
    return Chosen(known, known.network if network is None else network, _settings(name, known, parts["settings"]))


def _settings(name: str, known: Known, written: str | None) -> dict[str, float]:
    numbers: dict[str, float] = {}
    for part in [] if written is None else written.split(","):
        setting, _, text = (piece.strip() for piece in part.partition("="))
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if setting not in known.settings or setting in numbers or not 0 < number < math.inf:
            raise InputError(
                f"settings of `{name}` are {', '.join(known.settings) or 'none'}, each a number above 0, such as "
                f"`sinkhorn(reach=2)`; got {part.strip()!r}"
            )
        numbers[setting] = number
    return numbers


def _own_function(path: str) -> Chosen:
    if not IMPORT_PATH.fullmatch(path):
        raise InputError(f"a property of your own is `package.module:function`, got {path!r}")
    meaning = f"What the function {path} makes of the generated images; higher is more valuable."
    known = Known(path, meaning, "royalty.models.properties.custom:build", {path: Entry(path)})
    return Chosen(known, path)
