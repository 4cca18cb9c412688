"""Frozen configs, read from YAML and validated."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from rlscale.scaling.errors import InputError
from rlscale.scaling.files import require_file

Model = TypeVar("Model", bound=BaseModel)
_MOST_BYTES = 10_000_000  # of a config; the largest sweeps need a tenth of it
_MOST_VALUES = 1_000_000


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def load_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping.

    Raises:
        InputError: if the file is missing, is not YAML or is not a mapping, or is no file or too large.
    """
    require_file(path, _MOST_BYTES)
    try:
        values = _loaded(path.read_text(), path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.", code="unreadable_file") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        problem = " ".join(str(error).split())
        raise InputError(f"{path} is not valid YAML: {problem}", code="unreadable_file") from error
    if not isinstance(values, dict):
        raise InputError(
            f"{path} must be a mapping of fields to values, such as 'task: digits-bandit'.",
            code="unreadable_file",
        )
    return values


def _loaded(text: str, path: Path) -> Any:
    """The value of a YAML text, whose aliases may not multiply it."""
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        if _count(node, {}) > _MOST_VALUES:
            raise InputError(
                f"{path} holds more than {_MOST_VALUES:,} values once its aliases (*name) are written out; "
                f"remove aliases.",
                code="too_large",
            )
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _count(node: yaml.Node, known: dict[int, float]) -> float:
    """The number of values in a YAML node with its aliases written out; infinite if one contains itself."""
    if id(node) not in known:
        known[id(node)] = math.inf
        parts = node.value if isinstance(node, yaml.CollectionNode) else ()
        children = (child for part in parts for child in (part if isinstance(part, tuple) else (part,)))
        known[id(node)] = 1 + sum(_count(child, known) for child in children)
    return known[id(node)]


def validated(model: type[Model], values: Mapping[str, Any], *, source: str) -> Model:
    """A ``model`` made from ``values``; an error is one sentence about the first wrong field.

    Raises:
        InputError: naming source, field and remedy.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise InputError(f"{source}: {_first_problem(model, error)}", code=_code(error)) from error


@contextmanager
def as_value_error(field: str = "") -> Iterator[None]:
    """Turn an InputError into the ValueError that pydantic collects, its sentence after the field."""
    try:
        yield
    except InputError as error:
        raise ValueError(field + str(error).rstrip(".")) from error


def _code(error: ValidationError) -> str:
    """The code of the first problem: that of the InputError behind it, else ``invalid_config``."""
    raised = error.errors()[0].get("ctx", {}).get("error")
    cause = raised.__cause__ if isinstance(raised, ValueError) else None
    return cause.code if isinstance(cause, InputError) else "invalid_config"


def _first_problem(model: type[BaseModel], error: ValidationError) -> str:
    first, *others = error.errors()
    location = [str(part) for part in first["loc"]]
    field = ".".join(location)
    if first["type"] == "extra_forbidden":
        known = ", ".join(_fields_at(model, location[:-1]))
        problem = f"unknown key {field!r}; known here: {known}."
    elif first["type"] == "missing":
        problem = f"{field!r} is missing; add it."
    elif first["type"] == "model_type":
        known = ", ".join(_fields_at(model, location))
        problem = f"{field!r} must hold fields (known there: {known}), not {first['input']!r}."
    else:
        message = first["msg"].removeprefix("Value error, ")
        if message == first["msg"]:  # pydantic's own sentence
            message = message[0].lower() + message[1:]
        given = "" if isinstance(first["input"], dict) else f" (given: {first['input']!r})"
        problem = (f"{field!r}: " if location else "") + f"{message}{given}."
    return problem + (f" ({len(others)} more like this.)" if others else "")


def _fields_at(model: type[BaseModel], location: list[str]) -> list[str]:
    for part in location:
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        choices = get_args(annotation) or (annotation,)  # a model, or a model | None
        models = [each for each in choices if isinstance(each, type) and issubclass(each, BaseModel)]
        if not models:
            return ["nothing"]
        model = models[0]
    return list(model.model_fields)
