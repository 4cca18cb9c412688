"""Frozen configs, read from YAML and validated."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from rlscale.scaling.errors import InputError, InvalidConfig
from rlscale.scaling.files import require_file
from rlscale.scaling.wording import did_you_mean

Model = TypeVar("Model", bound=BaseModel)
_MOST_BYTES = 10_000_000  # of a config; the largest sweeps need a tenth of it
_MOST_VALUES = 1_000_000
_LISTED = 20  # problems of a config in one message


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class _Loader(yaml.SafeLoader):
    """YAML as people write numbers: ``1e5`` is one. (YAML 1.1 wants a point and a sign in it.)"""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d[\d_]*\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


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
    loader = _Loader(text)
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
    """A ``model`` made from ``values``.

    Raises:
        InvalidConfig: naming source, and each wrong field with its remedy.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        found = error.errors()
        problems = [_problem(model, each) for each in found[:_LISTED]]
        if len(found) > _LISTED:
            problems.append(f"and {len(found) - _LISTED} more.")
        raise InvalidConfig(source, problems, code=_code(error)) from error


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


def _problem(model: type[BaseModel], error: ErrorDetails) -> str:
    location = [str(part) for part in error["loc"]]
    field = ".".join(location)
    if error["type"] == "extra_forbidden":
        known = _fields_at(model, location[:-1])
        meant = did_you_mean(location[-1], known) or did_you_mean(location[-1], field_paths(model))
        question = "" if meant is None else f" Did you mean {meant!r}?"
        return f"unknown key {field!r}; known here: {', '.join(known)}.{question}"
    if error["type"] == "missing":
        return f"{field!r} is missing; add it."
    if error["type"] == "model_type":
        known = _fields_at(model, location)
        return f"{field!r} must hold fields (known there: {', '.join(known)}), not {error['input']!r}."
    message = error["msg"].removeprefix("Value error, ")
    if message == error["msg"]:  # pydantic's own sentence
        message = message[0].lower() + message[1:]
    place = f"{field!r}: " if location else ""
    if message.endswith("?"):  # it names what was given
        return place + message
    given = "" if isinstance(error["input"], dict) else f" (given: {error['input']!r})"
    return f"{place}{message}{given}."


def _fields_at(model: type[BaseModel], location: list[str]) -> list[str]:
    for part in location:
        group = _group(model.model_fields[part].annotation) if part in model.model_fields else None
        if group is None:
            return ["nothing"]
        model = group
    return list(model.model_fields)


def field_paths(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Every field of a model and of the models in it, as ``agent.clip``."""
    names = []
    for name, field in model.model_fields.items():
        group = _group(field.annotation)
        names += [prefix + name] if group is None else field_paths(group, f"{prefix}{name}.")
    return names


def _group(annotation: Any) -> type[BaseModel] | None:
    """The model that a field holds, also where it may be left out; None if it holds a value."""
    choices = get_args(annotation) or (annotation,)
    return next((one for one in choices if isinstance(one, type) and issubclass(one, BaseModel)), None)
