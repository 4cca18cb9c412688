"""The codes of errors and warnings, with their sentences, as they stand in the source of the packages."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("scaling", "sweeps", "analysis", "rlscale")

#: Errors whose class says too little: each is raised with a code of its own.
UNCODED = ("RlscaleError", "InputError")
WARNING = "warning"


class Coded(NamedTuple):
    """An error that the packages raise, or a warning that they give.

    Attributes:
        code: for programs; empty if an error of ``UNCODED`` has none.
        sentence: its template, with values as ``{name}``; empty if it is put together elsewhere.
        module: path of the file in the repository.
        line: where the error or warning is in that file.
        kind: name of the error's class, or ``WARNING``.
    """

    code: str
    sentence: str
    module: str
    line: int
    kind: str


def coded_sentences() -> Iterator[Coded]:
    """Every error and warning of the packages, file by file.

    An error that only passes on the code of another error is left out.
    """
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if not any(parent.is_symlink() for parent in path.parents):
                module, tree = path.relative_to(ROOT).as_posix(), ast.parse(path.read_text())
                for node in ast.walk(tree):
                    for code, sentence, kind in _coded_at(node, tree):
                        yield Coded(code, sentence, module, node.lineno, kind)


@cache
def error_classes() -> dict[str, Any]:
    """The classes of errors by name."""
    from rlscale.scaling import errors
    from rlscale.sweeps.running.drivers import StoppedOnRequest

    found = {
        name: each
        for name, each in vars(errors).items()
        if isinstance(each, type) and issubclass(each, errors.RlscaleError)
    }
    return {**found, StoppedOnRequest.__name__: StoppedOnRequest}


def _coded_at(node: Any, tree: ast.Module) -> Iterator[tuple[str, str, str]]:
    """(code, sentence, kind) of an error or warning that begins at this node."""
    classes = error_classes()
    match node:
        case ast.Call(func=ast.Name(id=name)) if name in classes:
            sentence = _template(node.args[0]) if node.args else ""
            given = next((each.value for each in node.keywords if each.arg == "code"), None)
            if given is not None:
                for code in _codes_of(given, tree):
                    yield code, sentence, name
            elif name in UNCODED:
                yield "", sentence, name
            else:
                yield classes[name].code, sentence or (classes[name].__doc__ or "").partition("\n")[0], name
        case ast.Assign(
            targets=[ast.Tuple(elts=[_, ast.Name(id="code")])],
            value=ast.Tuple(elts=[sentence, ast.Constant(value=str(code))]),
        ):
            yield code, _template(sentence), "InputError"
        case ast.Tuple(elts=[ast.Constant(value=str(code)), second]) if _template(second).endswith("."):
            yield code, _template(second), WARNING


def _codes_of(node: ast.expr | None, tree: ast.Module) -> list[str]:
    """The codes that an expression may give: a string, a function's return value, a parameter's default."""
    functions = [each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef)]
    match node:
        case ast.Constant() | ast.JoinedStr():
            return [_template(node)]
        case ast.IfExp():
            return _codes_of(node.body, tree) + _codes_of(node.orelse, tree)
        case ast.Call(func=ast.Name(id=name)):
            inside = [each for one in functions if one.name == name for each in ast.walk(one)]
            returned = [each.value for each in inside if isinstance(each, ast.Return)]
            return [code for value in returned for code in _codes_of(value, tree)]
        case ast.Name(id=name):
            defaults = [
                pair
                for one in functions
                for pair in zip(one.args.args[::-1], one.args.defaults[::-1], strict=False)
            ]
            return [_template(default) for argument, default in defaults if argument.arg == name]
    return []


def _template(node: ast.expr) -> str:
    """The text of a string in the source, with values as ``{name}``; empty if it is no string."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(map(_template, parts))
        case ast.FormattedValue(value=value):
            return f"{{{_name_of(value)}}}"
        case ast.BinOp(op=ast.Add(), left=left, right=right):
            return _template(left) + _template(right)
    return ""


def _name_of(value: ast.expr) -> str:
    """What a reader may call a value in a sentence; an ellipsis if it has no name."""
    match value:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name.strip("_")
        case ast.Call(func=ast.Name(id=function), args=[first, *_]) if function not in ("len", "getattr"):
            return _name_of(first)
        case ast.Call(func=ast.Attribute(attr="join"), args=[first]):
            return _name_of(first)
        case ast.Call(func=ast.Attribute(value=ast.Name(id=name))) if name != "self":
            return name
    return "…"
