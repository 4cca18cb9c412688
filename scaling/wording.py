"""What messages share: the reader's name for a setting, and the name that a misspelt one was meant to be.

A message is read by somebody at the command line, who gives options, or in Python, who gives arguments.
Messages that name a setting give both of its names, and ``either`` chooses. Imports nothing of ours.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

#: Share of equal letters from which a name is taken for a misspelt one.
_LIKENESS = 0.76

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


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """The one known name whose last part this is, else the one in the same group that is most like it.

    >>> did_you_mean("widht", ["depth", "width"]), did_you_mean("clip", ["agent.clip"])
    ('width', 'agent.clip')
    """
    names = list(known)
    parts = [each for each in names if each.endswith(f".{name}")]
    if len(parts) == 1:
        return parts[0]
    group, _, last = name.rpartition(".")
    siblings = {each.rpartition(".")[2]: each for each in names if each.rpartition(".")[0] == group}
    close = difflib.get_close_matches(last, siblings, n=1, cutoff=_LIKENESS)
    return siblings[close[0]] if close else None
