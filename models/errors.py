"""Errors that the user of a run can mend."""

from __future__ import annotations


class InputError(ValueError):
    """The user's data or settings break a rule; the message gives rule, value received and remedy."""
