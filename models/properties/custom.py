"""User-defined properties: a function named by its import path."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from royalty.models.base.errors import InputError
from royalty.models.properties.property import Context, Property


def build(context: Context, network: str) -> Property:
    """The property computed by a function of uint8 images; its standard error by the jackknife.

    Args:
        network: the import path of the function, `package.module:function`.

    Raises:
        InputError: as for `load_function`; when the property is computed, as for `number`.
    """
    function = load_function(network)
    return Property(lambda images: images, lambda images: number(function(images), network))


def load_function(path: str) -> Callable[[np.ndarray], Any]:
    """Import the function of an import path, `package.module:function`.

    Raises:
        InputError: the module cannot be imported, is not written in Python, or has no such function.
    """
    module, _, name = path.partition(":")
    try:
        imported = importlib.import_module(module)
    except Exception as error:  # a module of the user can raise anything on import
        raise InputError(
            f"`property: {path}` names a function in an importable module; importing {module} failed with "
            f"{type(error).__name__}: {error}. Install it, or add its folder to PYTHONPATH"
        ) from error
    if not hasattr(imported, name):
        functions = [function_name for function_name, _ in inspect.getmembers(imported, inspect.isfunction)]
        raise InputError(
            f"`property: {path}` names a function, and {module} has no {name}; it has {', '.join(functions) or 'none'}"
        )
    if not str(getattr(imported, "__file__", "")).endswith(".py"):
        raise InputError(
            f"`property: {path}` names a function in Python source, so that changes are detected, and {module} is not "
            "written in Python; call it from a function in a Python file"
        )
    function = getattr(imported, name)
    if not callable(function):
        raise InputError(
            f"`property: {path}` names a function of uint8 images; got {type(function).__name__}. Name a function"
        )
    return function  # type: ignore[no-any-return]


def number(value: Any, path: str) -> float:
    """The result of a property function as a float.

    Raises:
        InputError: the result is not a number.
    """
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"a property is a single number; `property: {path}` returned {type(value).__name__}. Return a float"
        ) from error
