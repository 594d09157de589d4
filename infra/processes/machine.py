"""The loopback address, its free ports, and the environment of child Python processes."""

from __future__ import annotations

import socket

HOST = "127.0.0.1"

SAFE_PATH = {"PYTHONSAFEPATH": "1"}
"""Environment of all Python processes started from here, which their children inherit; the same as `-P`.

Without it, Python would import a file of the current folder, possibly someone else's, instead of a library with the
same name.
"""


def free_port() -> int:
    """An unused port of the loopback address."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
