"""Artifacts in an S3-compatible store, beside a cache on this machine that callers map files from.

Objects have the names that files have in a home, so either can be filled from the other by a copy. An object appears
when its upload is complete: S3 shows no part of an upload that was cut off.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, NoCredentialsError
from fsspec.config import conf
from s3fs import S3FileSystem

from royalty.infra.stores.artifacts import ArtifactStore, StoreError, digest_of_file, name_of, partial

PATIENCE = {"connect_timeout": 5, "read_timeout": 60, "retries": {"total_max_attempts": 2}}
"""Seconds that a connection and an answer may take, and attempts of each request; `s3fs` repeats those that fail."""
ATTEMPTS = 3
AT_ONCE = 32
"""Requests at once when many digests are looked up."""


class RemoteArtifactStore(ArtifactStore):
    """Objects `PREFIX/ab/abcd...` of a bucket; `root` is the cache.

    The object is what counts. A file of the cache is verified each time that it is used, and fetched again if it is
    missing or has changed. Endpoint and credentials are those of the AWS environment variables, AWS's configuration
    files, or fsspec's configuration.
    """

    def __init__(self, root: Path, address: str) -> None:
        super().__init__(root)
        self._address = address.rstrip("/")
        self._bucket, _, prefix = self._address.removeprefix("s3://").partition("/")
        self._prefix = f"{prefix}/" if prefix else ""
        config = PATIENCE | conf.get("s3", {}).get("config_kwargs", {})
        self._files = S3FileSystem(config_kwargs=config, use_listings_cache=False, skip_instance_cache=True)
        self._files.retries = ATTEMPTS

    @property
    def place(self) -> str:
        return self._address

    def check(self) -> None:
        """Write and read the artifact of no bytes, which is never deleted: that right is not needed."""
        digest = hashlib.sha256(b"").hexdigest()
        with self._explained(digest):
            self._files.call_s3("put_object", Bucket=self._bucket, Key=self._key(digest), Body=b"")
        self.audited(digest)

    def holds(self, digest: str) -> bool:
        with self._explained(digest):
            try:
                self._files.call_s3("head_object", Bucket=self._bucket, Key=self._key(digest))
            except FileNotFoundError:
                return False
        return True

    def held(self, digests: Iterable[str]) -> set[str]:
        listed = list(digests)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return {digest for digest, held in zip(listed, pool.map(self.holds, listed), strict=True) if held}

    def put(self, payload: bytes) -> str:
        digest = super().put(payload)
        if not self.holds(digest):
            with self._explained(digest):  # the payload, as the file of the cache is not verified here
                self._files.pipe_file(self._name(digest), payload)
        return digest

    def put_pieces(self, pieces: Iterable[bytes]) -> str:
        digest = super().put_pieces(pieces)
        if not self.holds(digest):
            with self._explained(digest):
                self._files.put_file(str(self.path(digest)), self._name(digest))
        return digest

    def get(self, digest: str) -> bytes:
        return self.verified(digest).read_bytes()

    def verified(self, digest: str) -> Path:
        path = self.path(digest)
        return path if path.exists() and digest_of_file(path) == digest else self.audited(digest)

    def audited(self, digest: str) -> Path:
        path = self.path(digest)
        with partial(path) as (_, temporary):
            try:
                with self._explained(digest):
                    self._files.get_file(self._name(digest), str(temporary))
            except FileNotFoundError:
                raise self._missing(digest) from None
            if (now := digest_of_file(temporary)) != digest:
                raise self._changed(digest, now)
            temporary.replace(path)
        return path

    def _key(self, digest: str) -> str:
        return self._prefix + name_of(digest)

    def _name(self, digest: str) -> str:
        return f"{self._bucket}/{self._key(digest)}"

    @contextmanager
    def _explained(self, digest: str) -> Iterator[None]:
        """Turn errors of a request into one line.

        Raises:
            FileNotFoundError: the bucket has no such object.
            StoreError: everything else.
        """
        try:
            yield
        except FileNotFoundError as missing:
            if self._has_bucket():
                raise
            raise StoreError(
                f"ROYALTY_ARTIFACTS={self._address} is in the bucket {self._bucket!r}, which does not exist at "
                f"{self._endpoint()}; create it, or check the name and AWS_ENDPOINT_URL"
            ) from missing
        except (PermissionError, NoCredentialsError) as refused:
            raise StoreError(
                f"{self.address(digest)}: {self._endpoint()} refuses this user ({_line(refused)}); check "
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and that it may put and get objects and list the bucket"
            ) from refused
        except (OSError, BotoCoreError) as failed:
            raise StoreError(
                f"{self.address(digest)}: {self._endpoint()} cannot be used ({_line(failed)}); check the network and "
                "AWS_ENDPOINT_URL. Finished work is kept, and the next run resumes from there"
            ) from failed

    def _has_bucket(self) -> bool:
        try:
            self._files.call_s3("head_bucket", Bucket=self._bucket)
        except FileNotFoundError:
            return False
        except OSError:
            return True  # it answers, so it exists; the request that failed says what is wrong
        return True

    def _endpoint(self) -> str:
        client: Any = self._files.s3
        return str(client.meta.endpoint_url)


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
