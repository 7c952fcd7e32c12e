"""Messages for bad input: what was got, what was expected, what to do."""

from __future__ import annotations


class UserError(ValueError):
    """A mistake in what was given, told in one sentence; the command line prints it without a traceback."""
