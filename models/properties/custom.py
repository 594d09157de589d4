"""A property of the user's own: a function named by its import path."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from royalty.models.base.errors import InputError
from royalty.models.properties.property import Context, Property


def build(context: Context, network: str) -> Property:
    """The function of an import path, `package.module:function`, of uint8 images; its error by the jackknife.

    Raises:
        InputError: as `load_function`.
    """
    function = load_function(network)
    return Property(lambda images: images, lambda images: number(function(images), network))


def load_function(path: str) -> Callable[[np.ndarray], Any]:
    """What an import path, `package.module:function`, stands for.

    Raises:
        InputError: the module cannot be imported, has no such attribute, or it cannot be called.
    """
    module, _, name = path.partition(":")
    try:
        found = importlib.import_module(module)
    except Exception as error:  # whatever the user's module raises, it is not importable
        raise InputError(
            f"`property: {path}` names a function of a module that can be imported, and {module} cannot: "
            f"{type(error).__name__}: {error}. Install it, or add its folder to PYTHONPATH"
        ) from error
    if not hasattr(found, name):
        functions = [known for known, _ in inspect.getmembers(found, inspect.isfunction)]
        raise InputError(f"`property: {path}`: {module} has no {name}; it has {', '.join(functions) or 'no functions'}")
    if not str(getattr(found, "__file__", "")).endswith(".py"):
        raise InputError(f"`property: {path}`: {module} is not written in Python, so its changes go unseen; wrap it")
    function = getattr(found, name)
    if not callable(function):
        raise InputError(
            f"`property: {path}` names a function of uint8 images, and this is {type(function).__name__}; name another"
        )
    return function  # type: ignore[no-any-return]


def number(value: Any, path: str) -> float:
    """A function's result as a float.

    Raises:
        InputError: it is none.
    """
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"`property: {path}` returned {type(value).__name__}, and a property is one number; return a float"
        ) from error
