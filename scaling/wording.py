"""Who reads a message: somebody at the command line, who gives options, or in Python, who gives arguments.

Imports nothing. Messages that name a setting give both of its names, and ``either`` chooses.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_at_command_line = False


@contextmanager
def speaking_of_options() -> Iterator[None]:
    """Let messages name options, as ``--minimize``, within this block; elsewhere they name arguments."""
    global _at_command_line
    before, _at_command_line = _at_command_line, True
    try:
        yield
    finally:
        _at_command_line = before


def either(option: str, argument: str) -> str:
    """How the reader gives a setting: ``option`` at the command line, ``argument`` in Python.

    >>> either("--minimize", "minimize=True")
    'minimize=True'
    """
    return option if _at_command_line else argument
