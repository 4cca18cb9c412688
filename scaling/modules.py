"""The person's own Python modules, with her environments and networks.

Importing a module runs its code. So a module is imported only where the person names it: on the command
line, or in a config or spec that she gives by its path. A store may come from someone else: what it names
is refused, even if the module is already loaded.
"""

from __future__ import annotations

import importlib
import socket
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rlscale.scaling.errors import InputError

#: Names of tasks that begin like this are ids of gymnasium, not a module's.
GYMNASIUM = "gymnasium:"

_LONGEST_PROBLEM = 300
_named: dict[str, None] = {}  # in the order in which they were named


def name_modules(modules: Iterable[str], folder: Path | None = None) -> None:
    """Import the person's modules; from now on this process uses classes that lie in them.

    Args:
        folder: searched after all other folders; default: the present one.

    Raises:
        InputError: if a module does not import (code ``module_not_importable``).
    """
    for module in modules:
        if module in _named:
            continue
        place = str(folder or Path.cwd())
        if place not in sys.path:
            sys.path.append(place)
        try:
            importlib.import_module(module)
        except Exception as error:  # it may raise anything
            raise InputError(
                f"The module {module} cannot be imported on {socket.gethostname()} ({describe(error)}): "
                f"install it there, or put its file into {place}.",
                code="module_not_importable",
            ) from error
        _named[module] = None


def named_modules() -> tuple[str, ...]:
    """The modules that the person named, in order."""
    return tuple(_named)


def is_reference(text: str) -> bool:
    """Whether a text has the form ``module:Class``."""
    module, colon, name = text.partition(":")
    return bool(colon) and name.isidentifier() and all(part.isidentifier() for part in module.split("."))


def modules_in(values: Any, key: str = "") -> Iterator[str]:
    """The modules that a config or spec names as ``module:Class``, as its task or family."""
    if isinstance(values, Mapping):
        for name, value in values.items():
            yield from modules_in(value, str(name).rpartition(".")[2])
    elif isinstance(values, list | tuple):
        for value in values:
            yield from modules_in(value, key)
    elif isinstance(values, str) and key in ("task", "family"):
        is_id = values.startswith(GYMNASIUM)
        yield from () if is_id or not is_reference(values) else (values.partition(":")[0],)


def load_class(reference: str, base: type) -> Any:
    """The class that ``module:Class`` names, if the person named the module.

    Args:
        base: the class that it must extend.

    Raises:
        InputError: if she did not (code ``module_not_named``), or it is no such class (``not_such_a_class``).
    """
    module, _, name = reference.partition(":")
    check_named(reference)
    found = getattr(sys.modules[module], name, None)
    if not (isinstance(found, type) and issubclass(found, base)):
        raise InputError(
            f"{reference} is not a class that extends {base.__module__}.{base.__name__}: "
            f"define it in {module}, or correct the name.",
            code="not_such_a_class",
        )
    return found


def check_named(reference: str) -> None:
    """Refuse a ``module:Class`` whose module the person did not name.

    Raises:
        InputError: with code ``module_not_named``, or ``invalid_name`` if it is not of that form.
    """
    if not is_reference(reference):
        raise InputError(f"{reference!r} is not of the form module:Class.", code="invalid_name")
    module = reference.partition(":")[0]
    if module not in _named:
        raise InputError(
            f"{reference} needs code of the module {module}, which the command line does not name: "
            f"if you trust the module, add --import {module}.",
            code="module_not_named",
        )


def describe(error: BaseException) -> str:
    """An error of the person's code in one line: its type, its text, and where it was raised."""
    words = " ".join(f"{type(error).__name__}: {error}".split())
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f", {Path(trace.tb_frame.f_code.co_filename).name} line {trace.tb_lineno}" if trace else ""
    return words[:_LONGEST_PROBLEM] + place
