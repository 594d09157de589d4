"""Sign outputs with the attribution as a Content Credential, and read what files say."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from PIL import Image

from royalty.infra.attribution.api import AttributionRequest, Refused, SignedImage
from royalty.infra.stores.artifacts import write_whole
from royalty.models.base.errors import InputError
from royalty.models.base.reading import read_bytes
from royalty.models.data.credentials import Credentials, Identity, credentials_of, media_type, signed


@dataclass(frozen=True)
class Signing:
    """Where signed outputs go, and who signs them.

    Attributes:
        folder: for the signed files, which keep their names.
        key, certificate: files in PEM: a private key without a password; its certificate and those above it.
        prompt: what the images were generated from; "" if it is not said.
    """

    folder: Path
    key: Path
    certificate: Path
    prompt: str = ""


def sign_outputs(
    images: Sequence[tuple[Path, bytes]], answers: Sequence[Mapping[str, Any]], signing: Signing
) -> list[Path]:
    """Write signed copies of images; none is written if one cannot be signed.

    Args:
        images: paths and contents.
        answers: the attribution of each, as JSON.

    Raises:
        InputError: a key, certificate or image that cannot be used; two images of one name; a file is there.
    """
    identity = read_identity(signing.key, signing.certificate)
    targets = [signing.folder / path.name for path, _ in images]
    if len(set(targets)) < len(targets) or (there := next((file for file in targets if file.exists()), None)):
        why = f"{there} is there" if len(set(targets)) == len(targets) else "two images have the same name"
        raise InputError(f"signed images keep their names in a folder of their own, and {why}; give another folder")
    written = []
    for (path, payload), answer in zip(images, answers, strict=True):
        written.append(sign_output(payload, answer, identity, title=path.name, prompt=signing.prompt))
    signing.folder.mkdir(parents=True, exist_ok=True)
    for file, payload in zip(targets, written, strict=True):
        write_whole(file, payload)
    return targets


def sign_output(payload: bytes, answer: Mapping[str, Any], identity: Identity, *, title: str, prompt: str) -> bytes:
    """An image file, signed with the answer of its attribution; model and prompt are its ingredients.

    Raises:
        InputError: see `royalty.models.data.credentials.signed`.
    """
    made_from = [f"{answer['model']} {answer['version']}", *([prompt] if prompt else [])]
    return signed(payload, answer, identity, title=title, generator=version("royalty"), made_from=made_from)


def read_identity(key: Path, certificate: Path) -> Identity:
    """What images are signed with, from files in PEM.

    Raises:
        InputError: a file cannot be read.
    """
    return Identity(read_bytes(certificate, "certificate"), read_bytes(key, "key"))


@dataclass(frozen=True)
class RequestSigner:
    """Signs the images that the service is sent, with the answers that it logs.

    The manifest names the attribution by its id in the log. The caller's own id stays out of it.
    """

    identity: Identity

    @classmethod
    def open(cls, key: Path, certificate: Path) -> RequestSigner:
        """A signer that has signed an empty image, so that a key or certificate that cannot sign is found now.

        Raises:
            InputError: one of them cannot be read or used.
        """
        signer = cls(read_identity(key, certificate))
        Image.new("L", (8, 8)).save(probe := io.BytesIO(), "PNG")
        sign_output(probe.getvalue(), {"model": "", "version": ""}, signer.identity, title="a probe", prompt="")
        return signer

    def __call__(self, request: AttributionRequest, answer: Mapping[str, Any]) -> SignedImage:
        """The image of a request with an answer.

        Raises:
            Refused: the request has an embedding, or an image of a format that takes no manifests.
        """
        if request.image is None:
            raise Refused(400, "an `image` is signed, and this request has an `embedding`; send the image")
        payload, stated = base64.b64decode(request.image), {name: answer[name] for name in answer if name != "id"}
        try:
            kind = media_type(payload, "the image")
            written = sign_output(payload, stated, self.identity, title=answer["attribution"], prompt=request.prompt)
        except InputError as error:
            raise Refused(400, str(error)) from error
        return SignedImage(written, kind)


def read_credentials(images: Sequence[Path], anchors: Path | None) -> list[dict[str, Any]]:
    """See `royalty.flows.attribution.credentials`."""
    trusted = None if anchors is None else read_bytes(anchors, "file of certificates").decode("ascii", "replace")
    return [_described(path, credentials_of(read_bytes(path, "image"), anchors=trusted)) for path in images]


def _described(path: Path, credentials: Credentials | None) -> dict[str, Any]:
    return {"file": str(path), **({"state": "none"} if credentials is None else asdict(credentials))}
