"""What every stored result shares: a frozen model, the level of its intervals, the names of sizes."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

#: Level of every interval, two-sided.
INTERVAL_LEVEL = 0.90

SizeColumn = Literal["params", "params_total", "flops"]
Interval = tuple[float, float]


class Record(BaseModel):
    """A result that cannot change and survives a round trip through JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True, allow_inf_nan=False)


def return_field() -> Any:
    """A field called ``return`` in JSON, which Python reserves: ``return_`` here."""
    return Field(validation_alias=AliasChoices("return", "return_"), serialization_alias="return")
