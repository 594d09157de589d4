"""Sign outputs with the attribution as a Content Credential, and read what files say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from royalty.infra.stores.artifacts import write_whole
from royalty.models.base.errors import InputError
from royalty.models.data.credentials import Credentials, Identity, credentials_of, signed


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
    identity = Identity(read_bytes(signing.certificate, "certificate"), read_bytes(signing.key, "key"))
    targets = [signing.folder / path.name for path, _ in images]
    if len(set(targets)) < len(targets) or (there := next((file for file in targets if file.exists()), None)):
        why = f"{there} is there" if len(set(targets)) == len(targets) else "two images have the same name"
        raise InputError(f"signed images keep their names in a folder of their own, and {why}; give another folder")
    written = []
    for (path, payload), answer in zip(images, answers, strict=True):
        made_from = [f"{answer['model']} {answer['version']}", *([signing.prompt] if signing.prompt else [])]
        written.append(
            signed(payload, answer, identity, title=path.name, generator=version("royalty"), made_from=made_from)
        )
    signing.folder.mkdir(parents=True, exist_ok=True)
    for file, payload in zip(targets, written, strict=True):
        write_whole(file, payload)
    return targets


def read_credentials(images: Sequence[Path], anchors: Path | None) -> list[dict[str, Any]]:
    """See `royalty.flows.attribution.credentials`."""
    trusted = None if anchors is None else read_bytes(anchors, "file of certificates").decode("ascii", "replace")
    return [_described(path, credentials_of(read_bytes(path, "image"), anchors=trusted)) for path in images]


def read_bytes(path: Path, what: str) -> bytes:
    """The content of a file that a user names.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read the {what} {path}: {error.strerror}; give the path of a file") from error


def _described(path: Path, credentials: Credentials | None) -> dict[str, Any]:
    return {"file": str(path), **({"state": "none"} if credentials is None else asdict(credentials))}
