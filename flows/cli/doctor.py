"""The command `royalty doctor`: what is wrong with this machine, before a run finds it out."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

import typer

from royalty.flows.cli.command import AsJson


def doctor(as_json: AsJson = False) -> None:
    """Look at versions, devices, weights, servers, disk, permissions and clock; exits 1 if something will not do."""
    from royalty.infra.servers.session import configured

    configured()
    from royalty.infra.doctor import examine
    from royalty.infra.pages.terminal import print_finding
    from royalty.infra.settings import settings

    found = []
    for finding in examine(settings()):
        found.append(finding)
        if not as_json:
            print_finding(finding)
    passes = all(finding.passes for finding in found)
    if as_json:
        sys.stdout.write(json.dumps({"passes": passes, "findings": [asdict(finding) for finding in found]}) + "\n")
    if not passes:
        raise typer.Exit(1)
