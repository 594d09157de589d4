"""Errors that a user can fix: shown as one message, without a stack trace, wherever a flow runs."""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar, get_type_hints

from royalty.flows.configuration import ConfigError
from royalty.infra.errors import Refusal, UserError
from royalty.models.base.errors import InputError

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def user_can_fix(error: BaseException) -> bool:
    """Whether an error's message says what a user has to change."""
    databases = sys.modules.get("sqlalchemy.exc")  # not imported: none of its errors can have been raised
    return (
        is_refusal(error)
        or isinstance(error, UserError)
        or (databases is not None and isinstance(error, databases.DatabaseError))
    )


def is_refusal(error: BaseException) -> bool:
    """Whether a person has to correct or to agree to something, and nothing broke."""
    return isinstance(error, ConfigError | InputError | Refusal)


def explained(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Show an error that a user can fix on the Prefect page of the flow run; put this below `@flow`."""

    @wraps(function)
    def call(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            if user_can_fix(error):
                # Imports Prefect, for which a refused configuration does not wait.
                from royalty.tasks.report.prefect_artifacts import show_mistake

                show_mistake(str(error), refused=is_refusal(error))
            raise

    # Prefect reads the types of parameters from these, and names in them stand in the module of the function.
    call.__annotations__ = get_type_hints(function)
    call.__dict__["__signature__"] = inspect.signature(function, eval_str=True)
    return call


class OneLine(logging.Filter):
    """Log an error that a user can fix by its message alone."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
        if error is not None and user_can_fix(error):
            record.msg, record.args, record.exc_info, record.exc_text = str(error), (), None, None
        return True


for name in ("prefect.flow_runs", "prefect.task_runs"):
    logging.getLogger(name).addFilter(OneLine())
