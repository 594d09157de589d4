"""What becomes of training images that may not train."""

from __future__ import annotations

from dataclasses import dataclass

from royalty.models.base.choices import Refusing


@dataclass(frozen=True)
class Policy:
    """What becomes of images that may not train.

    Attributes:
        consent: of those whose `training_mining` does not allow it, or whose `consent` is refused.
        unstated: whether images may train if neither `training_mining` nor `consent` says so.
        credentials: of those whose Content Credentials refuse it.
    """

    consent: Refusing = "ignore"
    unstated: bool = True
    credentials: Refusing = "ignore"

    @property
    def passes(self) -> int:
        """How often the files of images are read: manifests are read before the images."""
        return 1 if self.credentials == "ignore" else 2


NO_POLICY = Policy()
"""All images are read, as for validation."""
