"""Content Credentials (C2PA): manifests of images, which are signed here and read offline.

The CAWG assertion `cawg.training-mining` says what an image may be used for. Nothing is fetched: manifests that lie
elsewhere, revocation lists and time stamps are left alone.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from royalty.models.base.errors import InputError

State = Literal["valid", "trusted", "tampered"]

MARK = b"c2pa"
"""Every embedded manifest holds this; files without it need not be parsed."""

ATTRIBUTION = "org.royalty.attribution"
"""Label of the assertion with the answer of an attribution."""

GENERATED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"

MINING = ("cawg.training-mining", "c2pa.training-mining")
TRAINING = (
    "cawg.ai_generative_training",
    "cawg.ai_training",
    "c2pa.ai_generative_training",
    "c2pa.ai_training",
)
"""Uses that training a generative model is."""

AUTHORS = ("stds.schema-org.CreativeWork", "stds.metadata", "cawg.metadata")

FORMATS = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp", "TIFF": "image/tiff", "GIF": "image/gif"}
"""Formats of images that are signed, as Pillow names them, and their media types."""

ALGORITHMS = {"ED25519": "Ed25519", "ES256": "secp256r1", "ES384": "secp384r1", "ES512": "secp521r1"}
"""Signature algorithms, and the kinds of keys that they take."""


@dataclass(frozen=True)
class Credentials:
    """What the active manifest of an image says.

    Attributes:
        state: `valid` (nothing was changed since it was signed, by somebody unknown), `trusted` (by somebody whose
            certificate leads to an anchor), or `tampered` (image or manifest have changed, or the signature is wrong).
        problems: codes of what does not fit, as the C2PA specification names them.
        signer: organization of the certificate; "" if unknown.
        creators: authors that the manifest names.
        refuses_training: whether it does not allow to train a generative model with the image.
        assertions: data by label.
    """

    state: State
    problems: tuple[str, ...]
    signer: str
    creators: tuple[str, ...]
    refuses_training: bool
    assertions: Mapping[str, Any]


def credentials_of(payload: bytes, *, anchors: str | None = None) -> Credentials | None:
    """The Content Credentials of an image file; None if it has none.

    Args:
        anchors: certificates (PEM) of authorities that are trusted; None: nobody is.

    Raises:
        InputError: it has a manifest, and the package that reads it is not installed.
    """
    if MARK not in payload:
        return None
    library = _library()
    try:
        reader = library.Reader.try_create(None, io.BytesIO(payload), context=_context(anchors))
    except library.C2paError as error:
        return Credentials("tampered", (str(error),), "", (), False, {})
    if reader is None:
        return None
    with reader:
        active = reader.get_active_manifest() or {}
        state = reader.get_validation_state()
        results = (reader.get_validation_results() or {}).get("activeManifest", {})
    assertions = {entry["label"]: entry["data"] for entry in active.get("assertions", ()) if "data" in entry}
    failures = [failure["code"] for failure in results.get("failure", ())]
    return Credentials(
        state={"Valid": "valid", "Trusted": "trusted"}.get(state, "tampered"),  # type: ignore[arg-type]
        problems=tuple(code for code in failures if code != "signingCredential.untrusted"),
        signer=(active.get("signature_info") or {}).get("issuer") or "",
        creators=tuple(dict.fromkeys(_creators(assertions))),
        refuses_training=any(_refuses(assertions.get(label)) for label in MINING),
        assertions=assertions,
    )


@dataclass(frozen=True)
class Identity:
    """What images are signed with, both PEM.

    Attributes:
        chain: the certificate of the key, and those that lead to an authority.
        key: the private key, without a password.
    """

    chain: bytes
    key: bytes


def signed(
    payload: bytes,
    attribution: Mapping[str, Any],
    identity: Identity,
    *,
    title: str,
    generator: str,
    made_from: Sequence[str],
) -> bytes:
    """An image file with a manifest that has an attribution as an assertion.

    Args:
        attribution: the answer, as JSON can hold it.
        title: name of the image.
        generator: version of the program that signs.
        made_from: what it was generated from, such as model and prompt; they become ingredients.

    Raises:
        InputError: no image of a format that takes manifests; a key or certificate that cannot sign.
    """
    library = _library()
    ingredients = [
        {"title": made, "relationship": "inputTo", "label": str(number)} for number, made in enumerate(made_from)
    ]
    created = {
        "action": "c2pa.created",
        "digitalSourceType": GENERATED,
        "parameters": {"ingredientIds": [made["label"] for made in ingredients]},
    }
    manifest = {
        "claim_generator_info": [{"name": "Royalty", "version": generator}],
        "title": title,
        "ingredients": ingredients,
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [created]}},
            {"label": ATTRIBUTION, "data": dict(attribution)},
        ],
    }
    kind, result = media_type(payload, title), io.BytesIO()
    try:
        algorithm = library.C2paSigningAlg[_algorithm(identity.key)]
        signer = library.Signer.from_info(library.C2paSignerInfo(algorithm, identity.chain, identity.key, None))
        with library.Builder(json.dumps(manifest), context=_context(None)) as builder:
            builder.sign(signer, kind, io.BytesIO(payload), result)
    except library.C2paError as error:
        raise InputError(
            f"{title} is signed by a key and the chain of its certificate, which an authority issued for signing "
            f"documents, and these cannot sign: {error}. Give another key or certificate"
        ) from error
    return result.getvalue()


def _algorithm(key: bytes) -> str:
    """The signature algorithm of a private key."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        loaded = load_pem_private_key(key, password=None)
    except (ValueError, TypeError) as error:
        raise InputError(f"images are signed by a private key in PEM without a password ({error}); give one") from error
    curve = "Ed25519" if isinstance(loaded, ed25519.Ed25519PrivateKey) else ""
    if isinstance(loaded, ec.EllipticCurvePrivateKey):
        curve = loaded.curve.name
    found = next((name for name, kind in ALGORITHMS.items() if kind == curve), None)
    if found is None:
        raise InputError(
            f"images are signed by a key of one of the kinds {', '.join(ALGORITHMS.values())}; give one of these"
        )
    return found


def media_type(payload: bytes, title: str) -> str:
    """The media type of an image that can be signed.

    Raises:
        InputError: it is no image, or of a format that takes no manifests.
    """
    from PIL import Image

    try:
        format_ = Image.open(io.BytesIO(payload)).format or ""
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{title} cannot be read as an image ({error}); give an image file") from error
    if format_ not in FORMATS:
        raise InputError(
            f"manifests are written into {', '.join(FORMATS)} files, and {title} is {format_}; convert it before it is "
            "signed"
        )
    return FORMATS[format_]


def _refuses(mining: Any) -> bool:
    """Whether an assertion of training and mining does not allow training; `constrained` needs asking."""
    entries = mining.get("entries", {}) if isinstance(mining, Mapping) else {}
    uses = [entries[name].get("use") for name in TRAINING if isinstance(entries.get(name), Mapping)]
    return any(use != "allowed" for use in uses)


def _creators(assertions: Mapping[str, Any]) -> list[str]:
    """Names of authors: of schema.org, and of Dublin Core's `dc:creator`."""
    found: list[str] = []
    for label in AUTHORS:
        data = assertions.get(label)
        if not isinstance(data, Mapping):
            continue
        for value in (data.get("author"), data.get("dc:creator")):
            for author in value if isinstance(value, list) else [value]:
                name = author.get("name") if isinstance(author, Mapping) else author
                if isinstance(name, str) and name.strip():
                    found.append(name.strip())
    return found


def _context(anchors: str | None) -> Any:
    settings: dict[str, Any] = {
        "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_trust": anchors is not None},
        "builder": {"thumbnail": {"enabled": False}},
    }
    if anchors is not None:
        settings["trust"] = {"user_anchors": anchors}
    return _library().Context.from_dict(settings)


def _library() -> Any:
    try:
        import c2pa
    except ImportError as error:
        raise InputError(
            "Content Credentials are read and written by the package c2pa-python, which is not installed; `pip install "
            "'royalty[c2pa]'`"
        ) from error
    return c2pa
