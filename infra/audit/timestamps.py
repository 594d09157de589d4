"""RFC 3161: have a time-stamping authority say when a checkpoint existed.

The request is a DER structure of a hash and a random number, and the response is kept as it is. OpenSSL verifies it:
`openssl ts -verify -data CHECKPOINT -in RESPONSE -CAfile AUTHORITY`.
"""

from __future__ import annotations

import hashlib
import secrets
import urllib.error
import urllib.request
from collections.abc import Sequence

SHA256 = bytes.fromhex("300d06096086480165030402010500")
"""Identification of SHA-256 without parameters, as DER."""
SECONDS = 20
LARGEST = 1 << 20
"""Most bytes of a response that are read."""


class TimestampRefused(OSError):
    """The authority could not be reached, or gave no time stamp."""


def timestamp(payload: bytes, url: str) -> bytes:
    """Ask an authority for a time stamp of a payload.

    Returns:
        The response, as DER. It grants the time stamp and contains the hash and the number of the request.

    Raises:
        TimestampRefused: there is no such response.
    """
    digest, nonce = hashlib.sha256(payload).digest(), secrets.randbits(63)
    headers = {"Content-Type": "application/timestamp-query", "User-Agent": "royalty"}
    request = urllib.request.Request(url, query(digest, nonce), headers)
    try:
        if not url.startswith(("http://", "https://")):
            raise ValueError("its address begins with https:// or http://")
        with urllib.request.urlopen(request, timeout=SECONDS) as reply:
            response: bytes = reply.read(LARGEST)
    except (OSError, ValueError) as error:
        raise TimestampRefused(f"no time stamp from {url}: {error}") from error
    if not is_granted(response) or digest not in response or _integer(nonce) not in response:
        raise TimestampRefused(f"no time stamp from {url}: its response does not grant one for this hash and number")
    return response


def query(digest: bytes, nonce: int) -> bytes:
    """A `TimeStampReq` that asks for the authority's certificate, too."""
    imprint = _der(0x30, SHA256, _der(0x04, digest))
    return _der(0x30, _integer(1), imprint, _integer(nonce), _der(0x01, b"\xff"))


def is_granted(response: bytes) -> bool:
    """Whether the status of a `TimeStampResp` is `granted` or `grantedWithMods`."""
    try:
        status = _content(_content(response))
        return status[0] == 0x02 and int.from_bytes(status[2 : 2 + status[1]]) in (0, 1)
    except IndexError:
        return False


def _der(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    if len(content) < 0x80:
        return bytes([tag, len(content)]) + content
    length = len(content).to_bytes((len(content).bit_length() + 7) // 8)
    return bytes([tag, 0x80 | len(length)]) + length + content


def _integer(number: int) -> bytes:
    return _der(0x02, number.to_bytes(number.bit_length() // 8 + 1))


def _content(element: Sequence[int]) -> Sequence[int]:
    """The content of a DER element."""
    length = element[1]
    start = 2 + (length & 0x7F if length & 0x80 else 0)
    return element[start:]
