"""What processes of this machine share: the loopback address, its free ports, and the environment of a child Python."""

from __future__ import annotations

import socket

HOST = "127.0.0.1"

SAFE_PATH = {"PYTHONSAFEPATH": "1"}
"""Environment of every Python that is started from here: otherwise it imports, as of any library, a file by that name
in the current folder, which may be anybody's. The same as `-P`, and what it starts in turn inherits it."""


def free_port() -> int:
    """A port of the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
