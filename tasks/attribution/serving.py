"""Run the attribution service."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import uvicorn

from royalty.infra.attribution.api import create_app
from royalty.infra.attribution.keys import KeyFile
from royalty.infra.pages.terminal import console
from royalty.infra.settings import settings
from royalty.infra.workspace import check_home
from royalty.models.base.errors import InputError
from royalty.tasks.attribution.credentials import RequestSigner
from royalty.tasks.attribution.from_files import open_attributor
from royalty.tasks.attribution.log import usage_log

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def serve_attributions(
    models: Sequence[str],
    host: str,
    port: int,
    hosts: Sequence[str],
    most: int,
    key: Path | None = None,
    certificate: Path | None = None,
) -> None:
    """Serve until the process is ended.

    Args:
        key, certificate: files of what images are signed with; None: none are signed.
        hosts: allowed values of the `Host` header; those of this machine by default.
        most: most bytes of a request.

    Raises:
        InputError: key or certificate cannot sign; no client has a key; a model has no index; an address of the network
            without allowed hosts.
        StoreError: an index cannot be opened, or the home not written.
    """
    home = settings()
    check_home(home)
    keys = KeyFile(home.root / "attribution" / "keys.json")
    if not keys.listed():
        raise InputError("clients need keys, and there is none; make one first: royalty keys add NAME")
    if host not in LOOPBACK and not hosts:
        raise InputError(
            f"a service that others can reach answers to the names that are allowed, and {host} is no address of this "
            "machine alone; give `--allowed-host NAME:PORT`, and put a proxy with TLS before it"
        )
    sign = None if key is None or certificate is None else RequestSigner.open(key, certificate)
    attributor = open_attributor(models)
    attributor.open_all()
    allowed = list(hosts) or [f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")]
    app = create_app(attributor, usage_log(), keys, hosts=allowed, sizes=attributor.sizes, most=most, sign=sign)
    for (model, version), items in attributor.sizes().items():
        console.print(f"{model} {version}: {items} items", markup=False)
    console.print(f"Attributions at http://{host}:{port}/v1/attributions; press Ctrl-C to stop", soft_wrap=True)
    uvicorn.run(app, host=host, port=port, log_level="warning", server_header=False)
