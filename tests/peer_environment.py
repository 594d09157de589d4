"""An environment with opendataval and pyDVL beside the packages of this one."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

PEERS = (
    "opendataval==1.3.0",
    "pydvl==0.10.0",
    # What these two import and this environment lacks, in versions that they work with.
    "clarabel",
    "cvxpy",
    "geomloss==0.2.6",
    "highspy",
    "keopscore",
    "more-itertools",
    "mypy-extensions",
    "numcodecs",
    "osqp",
    "pandera",
    "pyDeprecate",
    "pykeops",
    "qdldl",
    "scs",
    "sparsediffpy",
    "torcheval",
    "typeguard",
    "typing-inspect",
)


def make_peers(folder: Path) -> Path:
    """Make the environment in a folder, unless it is there; return its interpreter.

    Both packages pin older versions of NumPy, so their requirements are not followed.
    """
    python = folder / "bin" / "python"
    done = folder / "installed"
    if not done.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        packages = Path(sysconfig.get_path("purelib"))
        (own,) = folder.glob("lib/python*/site-packages")
        # Own packages come first, then those of this environment, with its editable installs.
        (own / "beside.pth").write_text(f"import site; site.addsitedir({str(packages)!r})\n")
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*pip, *PEERS], check=True)
        done.touch()
    return python
