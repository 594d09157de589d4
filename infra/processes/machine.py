"""The loopback address, its free ports, and the environment of child Python processes."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

HOST = "127.0.0.1"

SAFE_PATH = {"PYTHONSAFEPATH": "1"}
"""Environment of all Python processes started from here, which their children inherit; the same as `-P`.

Without it, Python would import a file of the current folder, possibly someone else's, instead of a library with the
same name.
"""

BEFORE_FORK = {"PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
"""Environment of the process that workers are forked from.

Libraries that it imports ask whether there is a GPU. PyTorch then asks NVIDIA's management library, and does not start
CUDA, which no forked process could use afterwards.
"""


def free_port() -> int:
    """An unused port of the loopback address."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def check_answers(address: str, seconds: float = 5.0) -> None:
    """Check that a server takes connections at `SCHEME://HOST:PORT`.

    Raises:
        OSError: it does not, within this time.
        ValueError: the address has no port, or one out of range.
    """
    place = urlsplit(address)
    if place.hostname is None or place.port is None:
        raise ValueError("the address has no host or no port")
    with socket.create_connection((place.hostname, place.port), timeout=seconds):
        pass
