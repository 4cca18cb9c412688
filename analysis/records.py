"""What every stored result shares: a frozen model, the level of its intervals, codes beside warnings."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

import numpy as np
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, model_validator

from rlscale.scaling.errors import InputError
from rlscale.scaling.files import require_file

#: Level of every interval, two-sided.
INTERVAL_LEVEL = 0.90

Interval = tuple[float, float]

_MOST_SHOWN = 120  # characters of a field's value in a representation


class Record(BaseModel):
    """A result that cannot change and survives a round trip through JSON.

    Equal if its JSON is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True, allow_inf_nan=False)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Record) or type(self) is not type(other):
            return NotImplemented
        return self.model_dump() == other.model_dump()

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Numbers and short values; what would fill the screen is left out."""
        for name, value in super().__repr_args__():
            if len(repr(value)) <= _MOST_SHOWN:
                yield name, value


class Columns(Record):
    """A record whose arrays belong together: of one length, or empty where they may be left out."""

    @model_validator(mode="after")
    def _have_one_length(self) -> Self:
        lengths = {
            name: len(value)
            for name, field in type(self).model_fields.items()
            if isinstance(value := getattr(self, name), np.ndarray) and (len(value) or field.is_required())
        }
        if len(set(lengths.values())) > 1:
            listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
            raise ValueError(f"lists that belong together have different lengths ({listed})")
        return self


#: A code for programs and a sentence for people.
CodedWarning = tuple[str, str]


class Warned(Protocol):
    """A result with warnings."""

    @property
    def warnings(self) -> list[str]: ...

    @property
    def warning_codes(self) -> list[str]: ...


def warning_fields(*parts: Sequence[CodedWarning] | Warned) -> dict[str, list[str]]:
    """The fields ``warnings`` and ``warning_codes`` of a result, from its own and from other results'."""
    sentences: list[str] = []
    codes: list[str] = []
    for part in parts:
        if isinstance(part, Sequence):
            codes += [code for code, _ in part]
            sentences += [sentence for _, sentence in part]
        else:
            codes += part.warning_codes
            sentences += part.warnings
    return {"warnings": sentences, "warning_codes": codes}


def named_in_json(name: str, python_name: str) -> Any:
    """A field with another name in JSON than in Python; read by either."""
    return Field(validation_alias=AliasChoices(name, python_name), serialization_alias=name)


def return_field() -> Any:
    """A field called ``return`` in JSON, which Python reserves: ``return_`` here."""
    return named_in_json("return", "return_")


SCHEMA_VERSION = 1

M = TypeVar("M", bound=Record)


def read_stored(path: str | Path, model: type[M], command: str) -> M:
    """The result that ``command`` stored in a JSON file.

    Args:
        model: the type of the result, with defaults for ``kind`` and ``schema_version``.

    Raises:
        InputError: if the file is missing (code ``unreadable_file``), not JSON (``not_json``), another
            result (``not_a_fit`` and so on), of another version (``other_schema_version``) or damaged
            (``damaged_file``).
    """
    remedy = f"write one with: {command}"
    require_file(path)
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); {remedy}.", code="unreadable_file"
        ) from error
    return parse_stored(content, model, source=str(path), remedy=remedy)


def parse_stored(content: bytes, model: type[M], *, source: str, remedy: str) -> M:
    """The result in the content of a JSON file; see ``read_stored``.

    Args:
        source: what messages call the file.
        remedy: a clause that says what to do about a file that cannot be used.
    """
    path = source
    try:
        value = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON ({error}); {remedy}.", code="not_json") from error
    kind = model.model_fields["kind"].default
    if not isinstance(value, dict) or value.get("kind") != kind:
        raise InputError(f"{path} does not hold the result of {kind!r}; {remedy}.", code=_not_a(kind))
    version = model.model_fields["schema_version"].default
    if value.get("schema_version") != version:
        raise InputError(
            f"{path} has schema_version {value.get('schema_version')!r}, this version reads "
            f"{version}; {remedy}.",
            code="other_schema_version",
        )
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"{path} is damaged: field {where}: {first['msg']}; {remedy}.", code="damaged_file"
        ) from error


def _not_a(kind: str) -> str:
    """The code for a file that holds something else than a ``rlscale fit``: ``not_a_fit``."""
    return f"not_a_{kind.removeprefix('rlscale ')}"
