"""Keys of clients of the attribution service: what they may do, and how often."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

from royalty.infra.processes.locks import alone
from royalty.infra.stores.artifacts import StoreError, write_whole

Scope = Literal["attribute", "sign", "read", "audit", "metrics"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
NAME = re.compile(r"[\w][\w.-]{0,63}")


@dataclass(frozen=True)
class Key:
    """A client's key, of which the file has only the hash.

    Attributes:
        name: name of the client; its ids of generations are its own.
        digest: SHA-256 of the key. Keys are random, so that a slow hash would protect nothing.
        scopes: `attribute` images, `sign` them with their attribution, `read` attributions and totals of its own
            generations, `audit` those of all clients, read the `metrics`.
        rate: requests a second, on average.
        burst: requests at once.
    """

    name: str
    digest: str
    scopes: tuple[Scope, ...]
    rate: float
    burst: int

    def may(self, scope: Scope) -> bool:
        """Whether the key has a scope; who audits all clients reads."""
        return scope in self.scopes or (scope == "read" and "audit" in self.scopes)


class KeyFile:
    """The keys in a file, which only its owner can read; a change counts from the next request."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._read: tuple[int, dict[str, Key]] = (-1, {})

    def listed(self) -> list[Key]:
        return sorted(self._known().values(), key=lambda key: key.name)

    def find(self, secret: str) -> Key | None:
        """The key that a client sent. Keys are looked up by hash, which takes the same time whatever is sent."""
        return self._known().get(hashlib.sha256(secret.encode()).hexdigest())

    def add(self, name: str, scopes: Sequence[Scope], *, rate: float, burst: int) -> str:
        """Make a key, and return it; it is not stored, and cannot be shown again.

        Raises:
            StoreError: the name has a key already, or is none; or the file cannot be written.
        """
        if not NAME.fullmatch(name):
            raise StoreError(f"a client is named by letters, digits, `_`, `.` and `-`, at most 64; got {name!r}")
        secret = f"rk_{secrets.token_urlsafe(32)}"
        digest = hashlib.sha256(secret.encode()).hexdigest()
        with alone(self.file.with_suffix(".lock")):
            known = self._known()
            if any(key.name == name for key in known.values()):
                raise StoreError(
                    f"a client has one key, and {name!r} has one; revoke it first: royalty keys revoke {name}"
                )
            self._write({**known, digest: Key(name, digest, tuple(scopes), rate, burst)})
        return secret

    def revoke(self, name: str) -> None:
        """Delete a client's key.

        Raises:
            StoreError: it has none.
        """
        with alone(self.file.with_suffix(".lock")):
            known = self._known()
            kept = {digest: key for digest, key in known.items() if key.name != name}
            if len(kept) == len(known):
                names = ", ".join(key.name for key in known.values()) or "none"
                raise StoreError(f"no client {name!r} has a key; clients with keys: {names}")
            self._write(kept)

    def _known(self) -> dict[str, Key]:
        try:
            changed = self.file.stat().st_mtime_ns
            if changed != self._read[0]:
                rows = json.loads(self.file.read_text(encoding="utf-8"))
                keys = [Key(**{**row, "scopes": tuple(row["scopes"])}) for row in rows]
                self._read = changed, {key.digest: key for key in keys}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise StoreError(f"the keys in {self.file} cannot be read ({error}); restore the file") from error
        return self._read[1]

    def _write(self, keys: dict[str, Key]) -> None:
        write_whole(self.file, json.dumps([asdict(key) for key in keys.values()], indent=1).encode())


class RateLimit:
    """A bucket of tokens for each client: a request takes one, and they come back at the rate of its key."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}
        self._lock = threading.Lock()

    def wait(self, key: Key) -> float:
        """Take a token; returns 0, or the seconds until there is one."""
        with self._lock:
            now = self.clock()
            tokens, before = self._buckets.get(key.name, (float(key.burst), now))
            tokens = min(float(key.burst), tokens + (now - before) * key.rate)
            if tokens >= 1:
                self._buckets[key.name] = tokens - 1, now
                return 0.0
            self._buckets[key.name] = tokens, now
            return (1 - tokens) / key.rate
