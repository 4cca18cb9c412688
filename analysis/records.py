"""What every stored result shares: a frozen model, the level of its intervals, the names of sizes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from rlscale.scaling.errors import InputError

#: Level of every interval, two-sided.
INTERVAL_LEVEL = 0.90

Interval = tuple[float, float]


class Record(BaseModel):
    """A result that cannot change and survives a round trip through JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True, allow_inf_nan=False)


def return_field() -> Any:
    """A field called ``return`` in JSON, which Python reserves: ``return_`` here."""
    return Field(validation_alias=AliasChoices("return", "return_"), serialization_alias="return")


SCHEMA_VERSION = 1

M = TypeVar("M", bound=Record)


def read_stored(path: str | Path, model: type[M], command: str) -> M:
    """The result that ``command`` stored in a JSON file.

    Args:
        model: what it is, with defaults for ``kind`` and ``schema_version``.

    Raises:
        InputError: if the file is missing, not JSON, or not such a result of this version.
    """
    remedy = f"write one with: {command}"
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); {remedy}.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON ({error}); {remedy}.") from error
    kind = model.model_fields["kind"].default
    if not isinstance(value, dict) or value.get("kind") != kind:
        raise InputError(f"{path} does not hold the result of {kind!r}; {remedy}.")
    version = model.model_fields["schema_version"].default
    if value.get("schema_version") != version:
        raise InputError(
            f"{path} has schema_version {value.get('schema_version')!r}, this version reads "
            f"{version}; {remedy}."
        )
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{path} is damaged: field {where}: {first['msg']}; {remedy}.") from error
