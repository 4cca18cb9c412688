"""What every result shows a person: a line, a table to print, a cell of a notebook, and data frames."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel

from rlscale.analysis.formatting.numbers import brief_number, interval_text
from rlscale.analysis.records import Columns, Interval, Record
from rlscale.scaling.files import write_output

if TYPE_CHECKING:  # it takes longer to load than the command line may take to start
    import pandas as pd

#: What ``dir`` leaves out of a result: pydantic's names, what a file says of itself, what is shown of it.
_HIDDEN = frozenset(dir(BaseModel)) | {"kind", "schema_version", "headline", "tables", "facts", "cautions"}


class Shown(ABC):
    """Something that says in a line what it is, and more of it in a table."""

    @abstractmethod
    def headline(self) -> str:
        """What it says, in one line."""

    @abstractmethod
    def summary(self) -> pd.DataFrame:
        """What it says, in a small table: numbers, and ``low`` and ``high`` of their 90% intervals."""

    @abstractmethod
    def to_frame(self) -> pd.DataFrame:
        """All that it says of single points, runs or budgets, one row for each."""

    def tables(self) -> dict[str, pd.DataFrame]:
        """The tables to show, by their titles."""
        return {"": self.summary()}

    def facts(self) -> list[str]:
        """Sentences to show below the tables."""
        return []

    def cautions(self) -> list[str]:
        """Warnings to show below these."""
        return list(getattr(self, "warnings", ()))

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.headline()}>"

    def __str__(self) -> str:
        """The headline, the tables, the facts and the warnings, for ``print``."""
        parts = [self.headline()]
        for title, table in self.tables().items():
            text = table.to_string(float_format=_number, na_rep="")
            parts.append(f"{title}\n{text}" if title else text)
        return "\n\n".join(parts) + "".join(f"\n{line}" for line in (*self.facts(), *self.cautions()))

    def _repr_html_(self) -> str:
        """The same for a notebook."""
        parts = [f"<p><strong>{escape(self.headline())}</strong></p>"]
        for title, table in self.tables().items():
            parts += [f"<p>{escape(title)}</p>"] if title else []
            parts.append(table.to_html(float_format=_number, na_rep="", border=0))
        parts += [f"<p>{escape(fact)}</p>" for fact in self.facts()]
        warnings = "".join(f"<li>{escape(warning)}</li>" for warning in self.cautions())
        return "\n".join([*parts, f"<p>Warnings:</p><ul>{warnings}</ul>"] if warnings else parts)


class Result(Shown, Record):
    """A record that answers a person's question."""

    def __dir__(self) -> list[str]:
        """What a person uses; the other names still work."""
        return [name for name in super().__dir__() if name.startswith("__") or name not in _HIDDEN]

    def to_json(self, path: str | Path | None = None) -> str:
        """The text that ``--json`` writes, also written to ``path`` if given."""
        text = json.dumps(self.model_dump(mode="json"), indent=1, allow_nan=False) + "\n"
        if path is not None:
            write_output(path, text.encode())
        return text


def with_interval(value: float, interval: Interval | None) -> str:
    """A number, and its interval in brackets where there is one."""
    return brief_number(value) + ("" if interval is None else f" ({interval_text(interval)})")


def frame_of_columns(columns: Columns) -> pd.DataFrame:
    """The arrays of a record as columns, by their names in the JSON."""
    import pandas as pd

    arrays = {
        field.serialization_alias or name: getattr(columns, name)
        for name, field in type(columns).model_fields.items()
        if isinstance(getattr(columns, name), np.ndarray) and len(getattr(columns, name))
    }
    return pd.DataFrame(arrays)


def ends(interval: Interval | None, prefix: str = "") -> dict[str, float]:
    """The cells ``low`` and ``high`` of an interval, NaN without one."""
    low, high = interval or (np.nan, np.nan)
    return {f"{prefix}low": low, f"{prefix}high": high}


def frame_of_rows(rows: Mapping[str, Mapping[str, Any]], index: str) -> pd.DataFrame:
    """A table with named rows; ``index`` is what the names are."""
    import pandas as pd

    return pd.DataFrame(list(rows.values()), index=pd.Index(list(rows), name=index))


def _number(value: float) -> str:
    return brief_number(value, ".4g")
