"""The command `royalty doctor`: check this machine before a run."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

import typer

from royalty.flows.cli.command import AsJson


def doctor(as_json: AsJson = False) -> None:
    """Check versions, devices, weights, servers, disk, permissions, signing key and clock; exit with 1 if one fails."""
    from royalty.infra.servers.session import configured

    configured()
    from royalty.infra.doctor import examine
    from royalty.infra.pages.terminal import print_finding
    from royalty.infra.settings import settings

    findings = []
    for finding in examine(settings()):
        findings.append(finding)
        if not as_json:
            print_finding(finding)
    passes = all(finding.passes for finding in findings)
    if as_json:
        sys.stdout.write(json.dumps({"passes": passes, "findings": [asdict(finding) for finding in findings]}) + "\n")
    if not passes:
        raise typer.Exit(1)
