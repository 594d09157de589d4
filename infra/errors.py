"""Errors of stores, processes and the ledger that a user can correct.

They import nothing, so that a command which refuses its configuration waits for no library.
"""

from __future__ import annotations


class UserError(Exception):
    """The message says what a user has to change; commands and pages show it without a stack trace."""


class Refusal(UserError):
    """Nothing broke: a person has to correct something, or to agree to it."""
