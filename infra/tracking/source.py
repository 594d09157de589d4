"""Who and what made a run: the tags that MLflow's pages show as `Created by` and `Source`."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path

COMMAND = "royalty"
"""Name of the command line's program."""


def user() -> str:
    """Name of the user of this process; its number if the system has no name for it, as in some containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def entry_point() -> str:
    """What started this process: a command such as `royalty run`, a Prefect deployment, or a script."""
    if os.environ.get("PREFECT__FLOW_RUN_ID"):  # set by Prefect's workers
        return "Prefect deployment"
    program = Path(sys.argv[0]).name if sys.argv and sys.argv[0] else "python"
    if program != COMMAND:
        return program
    words = []
    for argument in sys.argv[1:]:
        if argument.startswith("-"):
            break
        words.append(argument)
    return " ".join([program, *words])


def source_tags(commit: str) -> dict[str, str]:
    """Tags of a run.

    Args:
        commit: the git commit of the code, with `-dirty` if files differ from it, or its version.
    """
    revision, dirty = commit.removesuffix("-dirty"), commit.endswith("-dirty")
    tags = {
        "mlflow.user": user(),
        "mlflow.source.name": entry_point(),
        "mlflow.source.type": "JOB" if os.environ.get("PREFECT__FLOW_RUN_ID") else "LOCAL",
        "git.commit": commit,
    }
    if " " in revision:  # a version: this package is installed without its repository
        return tags
    return tags | {"mlflow.source.git.commit": revision, "mlflow.source.git.dirty": str(dirty).lower()}
