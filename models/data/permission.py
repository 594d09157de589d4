"""Which images of a listing may train, by opt-outs, the consent of their contributors and Content Credentials."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from royalty.models.base.policy import Policy
from royalty.models.base.progress import Progress
from royalty.models.data.consent import consented
from royalty.models.data.listing import Listing
from royalty.models.data.optouts import Withdrawal, without_withdrawn
from royalty.models.data.refusals import Credentialed, WithManifests, credentialed, manifest_notes, refusal_note


@dataclass(frozen=True)
class Permitted(Credentialed):
    """The images of a listing that may train, with what their manifests say.

    Attributes:
        withdrawn: number of images that one of their contributors withdrew, by contributor; they are left out.
        not_consented: number of images that their contributors do not allow to train on, by contributor; they are left
            out, or counted only.
    """

    withdrawn: dict[str, int] = field(default_factory=dict)
    not_consented: dict[str, int] = field(default_factory=dict)

    def counts(self, policy: Policy) -> dict[str, Any]:
        """What a stage keeps of them; see `WithRefusals`."""
        return {
            "withdrawn": self.withdrawn,
            "manifests": self.manifests,
            "refused": self.refused,
            "refused_left_out": policy.credentials == "leave-out" and bool(self.refused),
            "tampered": list(self.tampered),
            "not_consented": self.not_consented,
            "not_consented_left_out": policy.consent == "leave-out" and bool(self.not_consented),
        }


class WithRefusals(WithManifests, Protocol):
    """What a stage keeps of the images that may not train; the names are those of `Permitted`.

    Attributes:
        not_consented_left_out: whether images without consent were left out.
    """

    @property
    def withdrawn(self) -> Mapping[str, int]: ...
    @property
    def not_consented(self) -> Mapping[str, int]: ...
    @property
    def not_consented_left_out(self) -> bool: ...


def permitted(
    listing: Listing, policy: Policy, withdrawals: Sequence[Withdrawal] = (), *, progress: Progress | None = None
) -> Permitted:
    """The images that may train. An image is counted once, by the first rule: opt-outs, consent, manifest.

    Args:
        withdrawals: what contributors withdrew; it is left out whatever the policy.
        progress: called with the number of images whose manifests were read or need not be read.

    Raises:
        InputError: an image may not train and the policy is `error`; no image is left; or a manifest cannot be read
            without its package.
    """
    kept, withdrawn = without_withdrawn(listing, withdrawals)
    consenting = consented(kept, policy.consent, unstated=policy.unstated)
    if progress is not None:
        progress(len(listing) - len(consenting.listing))
    stated = credentialed(consenting.listing, policy.credentials, progress=progress)
    without = tuple(sorted({*consenting.without, *stated.without}))
    return Permitted(
        stated.listing, stated.manifests, stated.refused, without, stated.tampered, withdrawn, consenting.refused
    )


def refusal_notes(read: WithRefusals) -> Iterator[str]:
    """Sentences on the images that may not train and on manifests, for reports."""
    if read.withdrawn:
        yield refusal_note("Images that were withdrawn", read.withdrawn, left_out=True)
    if read.not_consented:
        images = "Images that their contributors do not allow to train on"
        yield refusal_note(images, read.not_consented, read.not_consented_left_out)
    yield from manifest_notes(read)
